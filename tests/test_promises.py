"""docs/promises.md names tests that exist, and each promise once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = re.findall(r"^\| (\w+) \| .+? \| `(\S+?)::(\w+)` \|", (ROOT / "docs" / "promises.md").read_text(), re.MULTILINE)


def test_every_promise_names_a_test_that_exists() -> None:
    assert ROWS
    for promise, file, test in ROWS:
        assert re.search(rf"^(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), promise


def test_every_row_of_the_tables_was_read() -> None:
    lines = [line for line in (ROOT / "docs" / "promises.md").read_text().splitlines() if re.match(r"\| [A-Z]\d", line)]
    assert len(lines) == len(ROWS)


def test_no_promise_is_made_twice() -> None:
    ids = [promise for promise, _, _ in ROWS]
    assert len(ids) == len(set(ids))
