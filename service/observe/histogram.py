"""Counts in fixed buckets: integers only, no locks. Knows no unit and no metric."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

TIME_BOUNDS_NS: tuple[int, ...] = tuple(
    int(ms * 1e6)
    for ms in (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
)
COUNT_BOUNDS: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """How many values fell at or below each bound, and their sum.

    Args:
        bounds: ascending; a value above the last one falls into a bucket of its own.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def cumulative(self) -> list[int]:
        """Values at or below each bound; the last entry counts all of them."""
        return list(accumulate(self.counts))
