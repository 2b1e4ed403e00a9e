"""Figures of one sort by size, taken in rounds: each in units of what the smallest size took in the same round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.bench.verdict import ratio_of


@dataclass(slots=True)
class Line:
    """What is measured of several sizes in turn.

    Attributes:
        name: what it is.
        unit: of the figures.
        rounds: size -> its figure of each round.
    """

    name: str
    unit: str
    rounds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, size: int, figure: float) -> None:
        """The next round's figure of that size."""
        self.rounds.setdefault(size, []).append(figure)

    def to_json(self) -> dict[str, Any]:
        """The median of each size, and its ratio to the smallest with the interval that most rounds lay in."""
        smallest = self.rounds[min(self.rounds)]
        sizes = {}
        for size, figures in sorted(self.rounds.items()):
            ratio = ratio_of([*zip(figures, smallest, strict=True)])
            sizes[str(size)] = {"median": _short(median(figures)), "ratio": [_short(part) for part in ratio]}
        return {"name": self.name, "unit": self.unit, "rounds": len(smallest), "sizes": sizes}


def _short(figure: float, digits: int = 4) -> float:
    return float(f"{figure:.{digits}g}")


def by_name(lines: Sequence[Line]) -> dict[str, Any]:
    """For a document."""
    return {line.name: {key: value for key, value in line.to_json().items() if key != "name"} for line in lines}
