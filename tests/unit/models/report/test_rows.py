"""A row says what its card says, and "-" where the card says nothing."""

import pytest

from models.report import words
from models.report.front import front
from models.report.rows import batch_sizes, rows_of
from models.report.table import cells
from service.repository.card import Card
from tests.unit.models.report.cards import full, variant

FAST = variant("1-fast", "pass", kib=256, speedup=2.0, b=2)
CODED = variant("1-coded", "pass", kib=1024, speedup=1.0, coded_kib=64)
BAD = variant("1-bad", "fail", kib=128, speedup=0.5, b=60)


def test_full_versions_come_first_and_the_coded_size_counts() -> None:
    rows = rows_of([FAST, CODED, full(), BAD])
    assert [row.version for row in rows] == ["1", "1-bad", "1-coded", "1-fast"]
    assert [row.bytes for row in rows] == [1 << 20, 128 << 10, 64 << 10, 256 << 10]
    assert batch_sizes(rows) == (1, 8)


def test_the_cells_are_the_cards_figures() -> None:
    (row,) = rows_of([FAST])
    text = cells(row, (1, 8, 32))
    assert text[:3] == ("1-fast", "256.0 kiB", "0.25x")
    assert text[3] == "95.80%"
    assert text[4].startswith("-0.20 [")
    assert text[5:9] == ("99.80%", "2.00x [1.80, 2.20]", "2.00x [1.80, 2.20]", "-")
    assert text[-1] == "pass"


def test_a_bare_card_gives_dashes() -> None:
    (row,) = rows_of([Card(model="m", version="1", files={})])
    assert set(cells(row, (1,))[1:]) == {words.NOTHING}


def test_the_share_of_time_and_its_interval_are_the_speedups_turned_over() -> None:
    pace = rows_of([FAST])[0].pace(1)
    assert pace is not None
    assert pace.share == pytest.approx(0.5)
    assert pace.share_interval == pytest.approx((1 / 2.2, 1 / 1.8))
    own = rows_of([full()])[0].pace(8)
    assert own is not None
    assert (own.share, own.share_interval) == (1.0, (1.0, 1.0))


def test_the_headlines_interval_is_the_paired_differences_around_the_full_version() -> None:
    best = rows_of([FAST])[0].headline
    assert best is not None
    assert best.interval is not None
    assert best.interval[0] < best.value < best.interval[1]
    assert rows_of([full()])[0].headline.interval is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("points", "higher", "expected"),
    [
        ({"a": (1, 0.9), "b": (2, 0.95), "c": (3, 0.94)}, True, ("a", "b")),
        ({"a": (1, 0.9), "b": (2, 0.95), "c": (3, 0.94)}, False, ("a",)),
        ({"a": (1, 0.9), "twin": (1, 0.9)}, True, ("a", "twin")),
        ({"a": (1, 0.9), "dearer": (2, 0.9)}, True, ("a",)),
        ({}, True, ()),
    ],
)
def test_the_front(points: dict[str, tuple[float, float]], higher: bool, expected: tuple[str, ...]) -> None:
    assert front(points, higher_is_better=higher) == expected


@pytest.mark.parametrize(
    ("count", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 kiB"), (91 << 20, "91.0 MiB")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert words.size(count) == text
