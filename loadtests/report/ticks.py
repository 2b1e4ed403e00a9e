"""Ticks of a logarithmic axis: few enough to read, many enough to see the scale, and always plain numbers."""

from __future__ import annotations

import math

FEWEST, MOST = 3, 9
# From sparse to dense; the first that gives enough ticks is taken.
_STEPS: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
)


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Where to write numbers between two positive ends, ascending; at most `MOST`."""
    if not 0 < low < high:
        return (low,)
    for steps in _STEPS:
        found = _between(steps, low, high)
        if len(found) >= FEWEST:
            every = math.ceil(len(found) / MOST)
            return tuple(found[::every])
    return _even(low, high)


def _even(low: float, high: float) -> tuple[float, ...]:
    """Within less than a decade: even steps of 1, 2 or 5 in some decimal place."""
    decade = 10.0 ** math.floor(math.log10(high - low))
    fitting = (step for factor in (0.1, 0.2, 0.5, 1.0) if (high - low) / (step := factor * decade) < MOST - 1)
    step = next(fitting, 2 * decade)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return tuple(round(at * step, 12) for at in range(first, last + 1))


def _between(steps: tuple[float, ...], low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = (round(step * 10.0**decade, 12) for decade in decades for step in steps)
    return [one for one in every if low <= one <= high]


def plain(value: float) -> str:
    """A number as people write it: no exponent, thousands apart."""
    if value >= 10_000:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.10f}".rstrip("0").rstrip(".")
