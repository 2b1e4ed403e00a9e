"""Figures as a reader wants them, with their intervals; "-" where nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadtests.report.schema import Value
from service.core.words import NOTHING, share, size

__all__ = ["NOTHING", "figure", "kinds", "number", "ratio", "share", "size"]


def number(value: float | None) -> str:
    """Three digits that mean something, and no exponent."""
    if value is None:
        return NOTHING
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def ratio(value: float | None) -> str:
    """A factor."""
    return NOTHING if value is None else f"{value:.2f}x"


def figure(one: Value | None, say: Callable[[float | None], str] = number) -> str:
    """A value with its interval in brackets."""
    if one is None or one.value is None:
        return NOTHING
    if one.low is None or one.high is None:
        return say(one.value)
    return f"{say(one.value)} [{say(one.low)}, {say(one.high)}]"


def kinds(errors: Mapping[str, int]) -> str:
    """Kinds of errors with their numbers."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(errors.items())) if errors else "none"
