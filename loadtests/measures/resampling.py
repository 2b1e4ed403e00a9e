"""Intervals from whole blocks of traffic: requests of one block share the machine's mood and are not independent.

Rounds are drawn with replacement, each with the blocks of all versions in it, so that a slow spell of the machine is
drawn for all alike. With few rounds plain percentiles of the bootstrap are too narrow; they are widened so that their
coverage is that of Student's t (Hesterberg: "What Teachers Should Know About the Bootstrap", The American
Statistician 69 (2015), section 4.3, "expanded percentile").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2000

Rounds = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval; the interval is None where there were too few rounds for one."""

    value: float
    interval: tuple[float, float] | None = None

    @property
    def excludes_one(self) -> bool:
        """Whether a ratio is shown to be another one than 1."""
        return self.interval is not None and not self.interval[0] <= 1 <= self.interval[1]


def draws(rounds: int, *, seed: int, resamples: int = RESAMPLES) -> Rounds:
    """Numbers of rounds, int64 (resamples, rounds), drawn with replacement."""
    return np.random.default_rng(seed).integers(0, rounds, size=(resamples, rounds))


def figure(statistic: Callable[[Rounds], float], rounds: int, *, seed: int = 0, confidence: float = 0.95) -> Figure:
    """A statistic of all rounds, with its interval.

    Args:
        statistic: of the rounds whose numbers it is given, any of them several times.
        rounds: how many there are.
        seed: of the draws; equal seeds give equal intervals.
        confidence: of the interval.
    """
    value = statistic(np.arange(rounds))
    if rounds < 2:
        return Figure(value)
    drawn = np.array([statistic(one) for one in draws(rounds, seed=seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Figure(value)
    tail = expanded_tail(rounds, confidence)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Figure(value, (float(low), float(high)))


def expanded_tail(rounds: int, confidence: float) -> float:
    """The share of the bootstrap's draws that lies below the interval; smaller than (1 - confidence) / 2."""
    t = stats.t.ppf((1 - confidence) / 2, rounds - 1)
    return float(stats.norm.cdf(np.sqrt(rounds / (rounds - 1)) * t))
