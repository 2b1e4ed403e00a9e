from __future__ import annotations

import pytest

from service.observe.histogram import COUNT_BOUNDS, TIME_BOUNDS_NS, Histogram


@pytest.mark.parametrize(
    ("value", "counts"),
    [(0, [1, 0, 0]), (10, [1, 0, 0]), (11, [0, 1, 0]), (20, [0, 1, 0]), (21, [0, 0, 1])],
)
def test_a_value_falls_at_or_below_its_bound(value: int, counts: list[int]) -> None:
    histogram = Histogram((10, 20))
    histogram.observe(value)
    assert histogram.counts == counts
    assert histogram.total == value


def test_cumulative_counts_end_with_all_values() -> None:
    histogram = Histogram((10, 20))
    for value in (5, 15, 15, 99):
        histogram.observe(value)
    assert histogram.cumulative() == [1, 3, 4]
    assert histogram.total == 134


@pytest.mark.parametrize("bounds", [TIME_BOUNDS_NS, COUNT_BOUNDS])
def test_bounds_ascend(bounds: tuple[int, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_times_reach_from_50_microseconds_to_30_seconds() -> None:
    assert TIME_BOUNDS_NS[0] == 50_000
    assert TIME_BOUNDS_NS[-1] == 30_000_000_000
