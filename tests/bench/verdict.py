"""Whether a measured ratio is worse than the one that is kept, by more than either varies. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

ALLOWANCE = 1.1  # another machine, or the same one on another day


class Ratio(NamedTuple):
    """A ratio of costs: the middle of its rounds, and between what most of them lay."""

    middle: float
    low: float
    high: float


def ratio_of(rounds: Sequence[tuple[float, float]]) -> Ratio:
    """What the first of each pair costs in the unit of the second, which was measured right beside it.

    The interval leaves out as many rounds at each end as the sign test allows at 90 %: of the median, whatever the
    distribution.
    """
    ratios = sorted(ours / theirs for ours, theirs in rounds)
    outside = max(0, int((len(ratios) - 1.645 * len(ratios) ** 0.5) / 2) - 1)
    return Ratio(median(ratios), ratios[outside], ratios[-1 - outside])


def is_worse(measured: Ratio, kept: Ratio) -> bool:
    """Whether all that was measured lies above all that is kept."""
    return measured.low > kept.high * ALLOWANCE


def is_short(measured: Ratio, least: float) -> bool:
    """Whether all that was measured lies below the goal."""
    return measured.high < least
