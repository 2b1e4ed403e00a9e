"""Runs a version at each batch size before it answers anyone, and times it: the first points of its cost curve."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from service.core.contract import Arrays
from service.core.errors import RetortError
from service.serving.rows import Run, TrialRows

_BUDGET_S = 0.02
_LEAST_RUNS, _MOST_RUNS = 2, 5  # of two the quicker counts, so that one interruption shapes no batches


def sizes(max_rows: int) -> list[int]:
    """1, 2, 4, ... and `max_rows` itself."""
    doubled = [1 << power for power in range(max_rows.bit_length()) if 1 << power < max_rows]
    return [*doubled, max_rows]


def warm(run: Run, rows: TrialRows, max_rows: int) -> Iterator[tuple[int, float]]:
    """Yields (rows, median seconds of some runs) for each size; one untimed run comes first at each.

    A size that fails ends the warm-up: the version answers the smaller ones.
    """
    for size in sizes(max_rows):
        feed = rows.take(range(size))
        try:
            run(feed)
            yield size, statistics.median_low(_timed(run, feed))
        except RetortError:
            return


def _timed(run: Run, feed: Arrays) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < _MOST_RUNS and (sum(seconds) < _BUDGET_S or len(seconds) < _LEAST_RUNS):
        started_s = time.perf_counter()
        run(feed)
        seconds.append(time.perf_counter() - started_s)
    return seconds
