"""What the comparison with the real Triton is made of, without a Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.triton.bad_requests import BAD
from tests.triton.deviations import SHAPES, STATUSES
from tests.triton.grpc_part import CODES
from tests.triton.report import DIFFERENT, EQUAL, KNOWN, Report
from tests.triton.server import CannotRun, command_of
from tests.triton.shapes import Difference, differences

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "triton-differences.md").read_text()


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": 1}, {"a": "1"}, [Difference(".a", "number", "string")]),
        ({"a": {"b": {"c": 1}}}, {"a": {}}, [Difference(".a.b", "object", "")]),
        ({}, {"a": [{"b": 1}]}, [Difference(".a", "", "list")]),
        ({"a": [{"b": 1}]}, {"a": [{"b": True}]}, [Difference(".a[].b", "number", "bool")]),
        ({"parameters": {"x": 1}}, {"parameters": {"y": "z"}}, []),
        ({"a": None}, {"a": 1}, [Difference(".a", "null", "number")]),
        ({"ab": 1, "a": {"b": 1}}, {}, [Difference(".a", "object", ""), Difference(".ab", "number", "")]),
    ],
)
def test_shapes_differ_where_a_key_or_a_kind_does(first: Any, second: Any, found: list[Difference]) -> None:
    assert differences(first, second) == found


def test_a_report_counts_what_nobody_wrote_down() -> None:
    report = Report()
    report.compare("a", 200, 200)
    report.compare("b", 500, 400, (500, 400, "why"))
    assert report.failed == 0
    report.compare("c", 500, 400)
    report.compare("d", 500, 401, (500, 400, "why"))
    report.compare("e", 400, 400, (500, 400, "why"))
    report.holds("f", False)
    assert [row[0] for row in report.rows] == [EQUAL, KNOWN, DIFFERENT, DIFFERENT, DIFFERENT, DIFFERENT]
    assert report.failed == 4
    assert "no longer different: why" in report.table()
    assert report.table().endswith("1 equal, 1 documented, 4 DIFFERENT")


def test_bad_requests_have_names_of_their_own_and_deviations_name_them() -> None:
    names = [bad.name for bad in BAD]
    assert len(names) == len(set(names))
    assert STATUSES.keys() <= set(names)


def test_every_deviation_is_told_in_the_page() -> None:
    for name in STATUSES:
        assert name in PAGE, name
    for name, (theirs, ours, _why) in CODES.items():
        assert f"| {name} | {theirs} | {ours} |" in PAGE, name
    for _document, path in SHAPES:
        assert path.rpartition(".")[2].removesuffix("[]") in PAGE, path


def test_a_folder_without_the_binary_is_told_as_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="there is no Python in"):
        command_of(tmp_path, tmp_path, tmp_path, 1, 2)
