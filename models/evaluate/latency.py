"""How long a run takes. A variant's runs and its full version's alternate, so that a slow moment hits both alike.

Times are wall-clock on this machine and say nothing of another; the statistics of the pairs do the comparing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluate.statistics import median_interval
from service.core.contract import Arrays
from service.repository.card_measures import Timing
from service.runtime.runner import Runner

WARM_RUNS = 20
LEAST_RUNS = 10
# Of the budget; the rest is for the runs that count.
_WARM_SHARE = 0.1

Seconds = NDArray[np.float64]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Race:
    """Interleaved times of one feed; `speedup` is the median of full time / variant time over neighbouring runs.

    Attributes:
        runs: timed runs of each.
        speedup_joint_interval_95: wide enough to hold together with those of the other races that are looked at.
    """

    variant: Timing
    full: Timing
    runs: int
    speedup: float
    speedup_interval_95: tuple[float, float]
    speedup_joint_interval_95: tuple[float, float]


def race(
    variant: Runner,
    full: Runner,
    feed: Arrays,
    *,
    runs: int,
    budget_s: float = math.inf,
    looks: int = 1,
    now_s: Clock = time.perf_counter,
) -> Race:
    """Runs both in turn, each one first in every other pair, after up to `WARM_RUNS` pairs untimed.

    Args:
        variant: one runner.
        full: the other.
        feed: of every run.
        runs: timed ones of each, unless the budget allows fewer; at least `LEAST_RUNS`.
        budget_s: seconds for all runs together, warm-up included, by the time of the first pair.
        looks: how many races are judged together, for the joint interval (Bonferroni: Dunn, J. Am. Stat. Assoc. 56,
            1961).
        now_s: the clock.
    """
    rows = len(next(iter(feed.values())))
    pairs = np.array(_repeat(lambda turn: _pair(variant, full, feed, turn % 2 == 0, now_s), runs, budget_s))
    return compared(pairs[:, 0], pairs[:, 1], rows, looks=looks)


def compared(variant: Seconds, full: Seconds, rows: int, *, looks: int = 1) -> Race:
    """A race from its times (runs,), a pair at the same position."""
    ratios = full / variant
    low, high = median_interval(ratios)
    joint_low, joint_high = median_interval(ratios, confidence=1 - 0.05 / looks)
    return Race(
        timing(variant, rows),
        timing(full, rows),
        len(ratios),
        _rounded(float(np.median(ratios))),
        (_rounded(low), _rounded(high)),
        (_rounded(joint_low), _rounded(joint_high)),
    )


def timing(seconds: Seconds, rows: int) -> Timing:
    """Percentiles of run times (runs,) of batches of `rows`."""
    p50, p95, p99 = np.percentile(seconds * 1e3, [50, 95, 99])
    return Timing(
        p50_ms=_rounded(p50), p95_ms=_rounded(p95), p99_ms=_rounded(p99), rows_per_s=_rounded(rows * 1e3 / p50)
    )


def run_times(
    runner: Runner, feed: Arrays, *, runs: int, budget_s: float = math.inf, now_s: Clock = time.perf_counter
) -> Seconds:
    """Seconds of `runs` runs, or fewer as in `race`, after up to `WARM_RUNS` untimed ones."""
    return np.array(_repeat(lambda _: (_timed(runner, feed, now_s),), runs, budget_s))[:, 0]


def _repeat(once: Callable[[int], tuple[float, ...]], runs: int, budget_s: float) -> list[tuple[float, ...]]:
    """Times of each turn after the warm-up; the first turn, always untimed, tells how many the budget allows."""
    turn_s = sum(once(0))
    affordable = budget_s / turn_s if turn_s > 0 else math.inf
    warm = int(min(WARM_RUNS, max(1, affordable * _WARM_SHARE)))
    timed = int(min(runs, max(LEAST_RUNS, affordable * (1 - _WARM_SHARE))))
    return [once(turn) for turn in range(1, warm + timed)][warm - 1 :]


def _pair(variant: Runner, full: Runner, feed: Arrays, variant_first: bool, now_s: Clock) -> tuple[float, float]:
    if variant_first:
        own_s = _timed(variant, feed, now_s)
        return own_s, _timed(full, feed, now_s)
    full_s = _timed(full, feed, now_s)
    return _timed(variant, feed, now_s), full_s


def _timed(runner: Runner, feed: Arrays, now_s: Clock) -> float:
    start_s = now_s()
    runner.run(feed)
    return now_s() - start_s


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
