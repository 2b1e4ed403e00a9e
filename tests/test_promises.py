"""docs/promises.md names tests that exist, and each promise once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROMISES, _, MEASURED = (ROOT / "docs" / "promises.md").read_text().partition("\n## Last measured\n")
ROWS = re.findall(r"^\| (\w+) \| .+? \| `([^:\s]+)::(\S+)` \|", PROMISES, re.MULTILINE)


def test_every_promise_names_a_test_that_exists() -> None:
    assert ROWS
    for promise, file, test in ROWS:
        assert test in names_in((ROOT / file).read_text()), promise


def names_in(source: str) -> set[str]:
    """The functions of a module, and the methods of its classes as `Class::method`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, functions):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, functions)}
    return found


def test_a_test_is_found_where_it_is_and_nowhere_else() -> None:
    source = "class TestA:\n    def test_one(self): ...\nasync def test_two(): ...\n# def test_three(): ...\n"
    assert names_in(source) == {"TestA::test_one", "test_two"}


def test_every_row_of_the_tables_was_read() -> None:
    lines = [line for line in PROMISES.splitlines() if re.match(r"\| [A-Z]\d", line)]
    assert len(lines) == len(ROWS)


def test_no_promise_is_made_twice() -> None:
    ids = [promise for promise, _, _ in ROWS]
    assert len(ids) == len(set(ids))


def test_every_figure_is_of_a_promise_and_of_a_command_that_can_be_run() -> None:
    figures = re.findall(r"^\| ([A-Z]\w*(?:, [A-Z]\w*)*) \| .+ \| `(make|pytest) (.+?)` \|$", MEASURED, re.MULTILINE)
    assert len(figures) == sum(bool(re.match(r"\| [A-Z]\d", line)) for line in MEASURED.splitlines()) > 0
    promised = {promise for promise, _, _ in ROWS}
    makefile = (ROOT / "Makefile").read_text()
    for ids, program, what in figures:
        assert set(ids.split(", ")) <= promised, ids
        if program == "make":
            assert f"\n{what}:" in makefile, what
        else:
            assert all((ROOT / part).exists() for part in what.split() if part.startswith("tests/")), what
