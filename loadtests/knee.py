"""Looks for the knee: the highest rate at which a version still meets the objective, by a search that stops by itself.

Every rate is tried in one short block, and what all tries say together is a `Belief`. The next rate is the one at which
the knee is believed to lie, or one further up, so that a miss is held against a later moment again and again. The
searches of all versions go on side by side, in random order, so that a slow spell of the machine falls on all.
A search knows nothing of servers: whoever runs it says whether a rate was met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from loadtests.belief import Belief

# Until a rate is met: down to the lowest, and once more from the top, in case that it was a spell.
DESCENT = (100.0, 25.0, 6.0, 2.0, 1.0)
LOWEST_RATE = DESCENT[-1]
# Then at most that many times the highest rate that was met; what is far too high takes the longest to try.
GROWTH = 2.0
# Where the next rate lies in what is believed, in turn: at the knee, and where it would be if misses were but a spell.
TURNS = (0.5, 0.8, 0.5, 0.97)
# It stops when the interval's ends are that near to each other, in ratio, and a rate within was met again.
NARROW = 1.15
AGAIN = 2
MOST_TRIES = 40
# For each of the versions that are searched side by side; a slow server's blocks are long.
MOST_S = 180.0


@dataclass(frozen=True, slots=True)
class Search:
    """Where the search for one version stands.

    Attributes:
        ceiling: no rate above it is tried, and meeting it again ends the search.
        most_s: it ends at the first try that comes so long after the first one.
        belief: what the tries say.
        tried: (rate, whether it was met), in order.
        began_s: moment of the first try; None before it.
    """

    ceiling: float
    most_s: float = MOST_S
    belief: Belief = field(default_factory=Belief)
    tried: tuple[tuple[float, bool], ...] = ()
    began_s: float | None = None

    @property
    def next_rate(self) -> float:
        """Requests a second to try next."""
        if not self._highest:
            return min(DESCENT[len(self.tried) % len(DESCENT)], self.ceiling)
        wanted = self.belief.quantile(TURNS[len(self.tried) % len(TURNS)])
        return float(np.clip(wanted, LOWEST_RATE, min(GROWTH * self._highest, self.ceiling)))

    @property
    def done(self) -> bool:
        """Whether the knee is known, the ceiling was met, nothing is met at all, or it took too long."""
        return self.settled or self.nothing or self.over

    @property
    def over(self) -> bool:
        """Whether it took too many tries, or too long."""
        late = self.began_s is not None and (self.belief.at_s or 0) - self.began_s >= self.most_s
        return late or len(self.tried) >= MOST_TRIES

    @property
    def settled(self) -> bool:
        """Whether the interval is narrow and a rate within it was met again, or the ceiling was."""
        low, high = self.belief.interval()
        return self.at_ceiling or (high / low <= NARROW and self._met_from(low) >= AGAIN)

    @property
    def at_ceiling(self) -> bool:
        """Whether the ceiling was met again."""
        return self._met_from(self.ceiling) >= AGAIN

    @property
    def nothing(self) -> bool:
        """Whether even the lowest rate was missed, again, and none was met."""
        return not self._highest and sum(rate <= LOWEST_RATE for rate, _ in self.tried) >= AGAIN

    @property
    def knee(self) -> float | None:
        """The rate at which the knee is believed to lie, but none above those that were met; None where none was."""
        return min(self.belief.quantile(0.5), self._highest) if self._highest else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95 %; None where no rate was met, or the ceiling was, above which nothing is known."""
        return None if self.at_ceiling or not self._highest else self.belief.interval()

    def after(self, met: bool, at_s: float) -> Search:
        """Where it stands once `next_rate` was tried at this moment."""
        rate = self.next_rate
        began_s = at_s if self.began_s is None else self.began_s
        return replace(
            self, belief=self.belief.after(rate, met, at_s), tried=(*self.tried, (rate, met)), began_s=began_s
        )

    @property
    def _highest(self) -> float:
        return max((rate for rate, met in self.tried if met), default=0.0)

    def _met_from(self, least: float) -> int:
        return sum(met and rate >= least for rate, met in self.tried)


def search_all(
    searches: Mapping[str, Search],
    meets: Callable[[str, float], bool],
    now_s: Callable[[], float],
    *,
    seed: int = 0,
    on_step: Callable[[str, Search], None] = lambda _name, _search: None,
) -> dict[str, Search]:
    """Runs all searches to their ends; KeyboardInterrupt ends them early, where they stand.

    Args:
        searches: name -> where to begin.
        meets: (name, rate) -> whether the objective was met at that rate; it does the measuring.
        now_s: a monotonic clock.
        seed: of the order within each step.
        on_step: called after each try.
    """
    random = np.random.default_rng(seed)
    standing = dict(searches)
    try:
        while unfinished := [name for name, search in standing.items() if not search.done]:
            for name in _shuffled(unfinished, random):
                met = meets(name, standing[name].next_rate)
                standing[name] = standing[name].after(met, now_s())
                on_step(name, standing[name])
    except KeyboardInterrupt:
        pass
    return standing


def _shuffled(names: Sequence[str], random: np.random.Generator) -> list[str]:
    return [names[at] for at in random.permutation(len(names))]
