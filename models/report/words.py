"""Figures as a reader wants them: sizes, shares, speed-ups with their intervals; "-" where nothing is known."""

from __future__ import annotations

from models.report.rows import Pace
from service.core.words import NOTHING, share, size

__all__ = ["NOTHING", "points", "ratio", "share", "size", "speedup"]


def ratio(value: float | None) -> str:
    """A factor."""
    return NOTHING if value is None else f"{value:.3g}x"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}"


def speedup(pace: Pace | None) -> str:
    """How many times faster than the full version, with the interval."""
    if pace is None or pace.speedup is None or pace.interval is None:
        return NOTHING
    return f"{pace.speedup:.2f}x [{pace.interval[0]:.2f}, {pace.interval[1]:.2f}]"
