"""Looks for the knee: the highest rate at which a version still meets the objective, by a search that stops by itself.

Rates grow geometrically until one is not met, then the gap is halved (in ratio) until it is as narrow as asked. The
searches of all versions go on side by side, in random order, so that a slow spell of the machine falls on all.
A search knows nothing of servers: whoever runs it says whether a rate was met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

GROWTH = 1.6
# Downwards, while nothing was met: a rate that is far too high takes the longest to try.
FALL = 4.0
NARROW = 1.06
MOST_STEPS = 24


@dataclass(frozen=True, slots=True)
class Search:
    """Where the search for one version stands.

    Attributes:
        next_rate: requests a second to try next.
        met: the highest rate that was met; None before one was.
        missed: the lowest rate above it that was not; None before one was.
        ceiling: no rate above it is tried, and reaching it ends the search.
        tried: (rate, whether it was met), in order.
    """

    next_rate: float
    met: float | None = None
    missed: float | None = None
    ceiling: float = math.inf
    tried: tuple[tuple[float, bool], ...] = field(default=())

    @property
    def done(self) -> bool:
        """Whether the gap is narrow enough, the ceiling was met, nothing is met at all, or it took too long."""
        if len(self.tried) >= MOST_STEPS or (self.met is not None and self.met >= self.ceiling):
            return True
        if self.missed is not None and self.missed <= 1:
            return True
        return self.met is not None and self.missed is not None and self.missed / self.met <= NARROW

    @property
    def knee(self) -> float | None:
        """The highest rate that was met; None where none was."""
        return self.met

    def after(self, met: bool) -> Search:
        """Where it stands once `next_rate` was tried."""
        rate = self.next_rate
        tried = (*self.tried, (rate, met))
        lowest = rate if not met else self.missed
        highest = rate if met else self.met
        if met and self.missed is not None and rate >= self.missed:
            lowest = None  # the machine is quicker than it was: look further up again
        if not met and self.met is not None and rate <= self.met:
            highest = None
        return replace(self, next_rate=self._next(highest, lowest, rate), met=highest, missed=lowest, tried=tried)

    def _next(self, met: float | None, missed: float | None, rate: float) -> float:
        if missed is None:
            return min(rate * GROWTH, self.ceiling)
        return missed / FALL if met is None else math.sqrt(met * missed)


def search_all(
    searches: Mapping[str, Search],
    meets: Callable[[str, float], bool],
    *,
    seed: int = 0,
    on_step: Callable[[str, Search], None] = lambda _name, _search: None,
) -> dict[str, Search]:
    """Runs all searches to their ends; KeyboardInterrupt ends them early, where they stand.

    Args:
        searches: name -> where to begin.
        meets: (name, rate) -> whether the objective was met at that rate; it does the measuring.
        seed: of the order within each step.
        on_step: called after each try.
    """
    random = np.random.default_rng(seed)
    standing = dict(searches)
    try:
        while unfinished := [name for name, search in standing.items() if not search.done]:
            for name in _shuffled(unfinished, random):
                standing[name] = standing[name].after(meets(name, standing[name].next_rate))
                on_step(name, standing[name])
    except KeyboardInterrupt:
        pass
    return standing


def _shuffled(names: Sequence[str], random: np.random.Generator) -> list[str]:
    return [names[at] for at in random.permutation(len(names))]
