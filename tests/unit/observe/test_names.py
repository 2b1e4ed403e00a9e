"""The page on metrics lists all names, and asks for none that there is not: a query on one says nothing for ever."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.observe import names

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "howto" / "metrics.md").read_text()
FAMILIES = {one.text for one in vars(names).values() if isinstance(one, names.Name)}
ASKED = sorted(set(re.findall(r"\b(?:nv|retort)_\w+[a-z]\b", PAGE)))


@pytest.mark.parametrize("name", ASKED)
def test_a_query_asks_for_a_family_that_there_is(name: str) -> None:
    family = re.sub(r"_(bucket|sum|count)$", "", name)
    assert name in FAMILIES or family in FAMILIES


@pytest.mark.parametrize("name", [one for one in vars(names).values() if isinstance(one, names.Name)])
def test_the_page_lists_every_family_as_it_is_written(name: names.Name) -> None:
    assert f"| `{name.text}` | {name.kind} | {name.help} |\n" in PAGE


def test_the_page_has_queries() -> None:
    assert len(ASKED) > 15
