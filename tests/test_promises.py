"""docs/promises.md names tests that exist, and each promise once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(
    r"^\| (\w+) \| .+? \| `([^:\s]+)::(\S+)` \|", (ROOT / "docs" / "promises.md").read_text(), re.MULTILINE
)


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
    lines = [line for line in (ROOT / "docs" / "promises.md").read_text().splitlines() if re.match(r"\| [A-Z]\d", line)]
    assert len(lines) == len(ROWS)


def test_no_promise_is_made_twice() -> None:
    ids = [promise for promise, _, _ in ROWS]
    assert len(ids) == len(set(ids))
