"""Figures as a reader wants them, one way everywhere: sizes and shares; "-" where nothing is known."""

from __future__ import annotations

NOTHING = "-"
_KIB = 1024


def size(count: int | None) -> str:
    """Bytes with a binary unit."""
    if count is None:
        return NOTHING
    value, unit = float(count), "B"
    for larger in ("kiB", "MiB", "GiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def share(value: float | None) -> str:
    """A fraction as a percentage."""
    return NOTHING if value is None else f"{value:.2%}"
