"""Successive halving over a few candidates, whose scores are noisy and are only comparable within a round.

All candidates are measured in a few rounds, each round in random order; the better half goes on with twice as many
rounds (Jamieson, Talwalkar: "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016).
The present one always goes on, whatever its score, so that each round's scores can be read as ratios to it. The best
is then held against it in fresh rounds, which had no part in its choice and so do not flatter it. Knows no servers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from loadtests.measures.resampling import Figure, figure

C = TypeVar("C", bound=Hashable)
# Instead of a score of nothing, whose ratio would be none.
LEAST_SCORE = 1e-3

Scores = dict[C, list[float]]


@dataclass
class Race(Generic[C]):
    """One search and what it has measured so far.

    Attributes:
        present: the candidate that wins ties.
        measure: (candidate, round) -> score, higher is better; candidates of one round meet the same traffic.
        random: orders each round.
        may_go_on: asked before each round; False ends a stage with what there is.
        on_round: told each round's scores.
        ratios: candidate -> score / the present one's, of every round of the stages so far.
        rounds: how many there have been.
    """

    present: C
    measure: Callable[[C, int], float]
    random: np.random.Generator
    may_go_on: Callable[[int], bool] = lambda _blocks: True
    on_round: Callable[[dict[C, float]], None] = lambda _scores: None
    ratios: Scores[C] = field(default_factory=dict)
    rounds: int = 0

    def stage(self, candidates: Sequence[C], *, rounds: int = 2) -> C:
        """The best of these and the present one, by halving; the present one where nothing was measured."""
        running = [one for one in candidates if one != self.present]
        while running and self._rung(running, rounds):
            running.sort(key=self._mean, reverse=True)
            if len(running) == 1:
                break
            running = running[: math.ceil(len(running) / 2)]
            rounds *= 2
        leading = [one for one in running if self.ratios.get(one)]
        best = max(leading, key=self._mean, default=self.present)
        return best if self._mean(best) > 0 else self.present

    def beside(self, one: C, others: Sequence[C], *, rounds: int) -> Scores[C]:
        """Each of the others' scores / `one`'s, of so many fresh rounds; of fewer where time runs out."""
        seen: Scores[C] = {other: [] for other in others}
        for _ in range(rounds):
            if not self.may_go_on(len(others) + 1):
                break
            for other, ratio in self._round(others, one).items():
                seen[other].append(ratio)
        return seen

    def final(self, best: C, *, rounds: int) -> tuple[Figure | None, int]:
        """(the best one's score / the present one's with its interval, rounds that it comes from), of fresh rounds."""
        fresh = self.beside(self.present, [best], rounds=rounds)[best]
        return (as_figure(fresh), len(fresh)) if fresh else (None, 0)

    def _rung(self, running: Sequence[C], rounds: int) -> bool:
        """Whether any of the rounds could be run."""
        for number in range(rounds):
            if not self.may_go_on(len(running) + 1):
                return number > 0
            for one, ratio in self._round(running, self.present).items():
                self.ratios.setdefault(one, []).append(ratio)
        return True

    def _round(self, running: Sequence[C], beside: C) -> dict[C, float]:
        """Scores of these / that of the one beside."""
        entered = [*running, beside]
        scores: dict[C, float] = {}
        for at in self.random.permutation(len(entered)):
            scores[entered[at]] = max(self.measure(entered[at], self.rounds), LEAST_SCORE)
        self.rounds += 1
        self.on_round(scores)
        return {one: scores[one] / scores[beside] for one in running}

    def _mean(self, one: C) -> float:
        """Mean logarithm of its ratios; 0 for the present one."""
        found = self.ratios.get(one)
        return float(np.log(found).mean()) if found else 0.0


def as_figure(ratios: Sequence[float]) -> Figure:
    """The ratios of a few rounds as one, their geometric mean, with its interval."""
    logs = np.log(ratios)
    return figure(lambda at: float(np.exp(logs[at].mean())), len(logs))


def is_better(ratio: Figure | None) -> bool:
    """Whether the interval shows it; a tie is none."""
    return ratio is not None and ratio.interval is not None and ratio.interval[0] > 1
