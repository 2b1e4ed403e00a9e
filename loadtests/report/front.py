"""The Pareto front: what no other point beats in all respects at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def front(points: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """Names on the front, in their order; every coordinate is a cost: less is better.

    A point is off the front when another one is no worse anywhere and better somewhere.
    """
    return tuple(name for name, own in points.items() if not any(_beats(other, own) for other in points.values()))


def _beats(other: Sequence[float], own: Sequence[float]) -> bool:
    return all(o <= p for o, p in zip(other, own, strict=True)) and tuple(other) != tuple(own)
