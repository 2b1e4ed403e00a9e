"""How long a run takes. A variant's runs and its full version's alternate, so that a slow moment hits both alike.

Times are wall-clock on this machine and say nothing of another; the statistics of the pairs do the comparing.
"""

from __future__ import annotations

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

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Race:
    """Interleaved times of one feed; `speedup` is the median of full time / variant time over neighbouring runs."""

    variant: Timing
    full: Timing
    speedup: float
    speedup_interval_95: tuple[float, float]


def race(
    variant: Runner, full: Runner, feed: Arrays, *, runs: int, now_s: Callable[[], float] = time.perf_counter
) -> Race:
    """Runs both in turn `runs` times, each one first in every other pair, after `WARM_RUNS` pairs untimed."""
    rows = len(next(iter(feed.values())))
    pairs = np.array([_pair(variant, full, feed, turn % 2 == 0, now_s) for turn in range(WARM_RUNS + runs)])[WARM_RUNS:]
    ratios = pairs[:, 1] / pairs[:, 0]
    low, high = median_interval(ratios)
    return Race(
        timing(pairs[:, 0], rows),
        timing(pairs[:, 1], rows),
        _rounded(float(np.median(ratios))),
        (_rounded(low), _rounded(high)),
    )


def timing(seconds: Seconds, rows: int) -> Timing:
    """Percentiles of run times (runs,) of batches of `rows`."""
    p50, p95, p99 = np.percentile(seconds * 1e3, [50, 95, 99])
    return Timing(
        p50_ms=_rounded(p50), p95_ms=_rounded(p95), p99_ms=_rounded(p99), rows_per_s=_rounded(rows * 1e3 / p50)
    )


def run_times(runner: Runner, feed: Arrays, *, runs: int, now_s: Callable[[], float] = time.perf_counter) -> Seconds:
    """Seconds of `runs` runs, after `WARM_RUNS` untimed ones."""
    return np.array([_timed(runner, feed, now_s) for _ in range(WARM_RUNS + runs)])[WARM_RUNS:]


def _pair(
    variant: Runner, full: Runner, feed: Arrays, variant_first: bool, now_s: Callable[[], float]
) -> tuple[float, float]:
    if variant_first:
        own_s = _timed(variant, feed, now_s)
        return own_s, _timed(full, feed, now_s)
    full_s = _timed(full, feed, now_s)
    return _timed(variant, feed, now_s), full_s


def _timed(runner: Runner, feed: Arrays, now_s: Callable[[], float]) -> float:
    start_s = now_s()
    runner.run(feed)
    return now_s() - start_s


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
