"""The Pareto front: the versions that no other version beats in cost without losing quality."""

from __future__ import annotations

from collections.abc import Mapping


def front(points: Mapping[str, tuple[float, float]], *, higher_is_better: bool = True) -> tuple[str, ...]:
    """Names on the front, cheapest first.

    Args:
        points: name -> (cost, quality); less cost is better.
        higher_is_better: whether more quality is better.

    A point is off the front when another one is at least as good in both and better in one.
    """
    sign = 1 if higher_is_better else -1
    signed = {name: (cost, sign * quality) for name, (cost, quality) in points.items()}
    kept = [name for name, point in signed.items() if not any(_beats(other, point) for other in signed.values())]
    return tuple(sorted(kept, key=lambda name: (signed[name][0], name)))


def _beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
    no_worse = other[0] <= point[0] and other[1] >= point[1]
    return no_worse and other != point
