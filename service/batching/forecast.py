"""How long a newcomer would wait, as the cost curve and the queue tell it, put right by how long others did wait.

The curve knows runs alone: what the loop, the threads and longer rows add shows only in the waits themselves. Costs the
same whatever waits. Knows nothing of who is let in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from service.batching.contract import BatchConfig
from service.batching.crew import Crew
from service.batching.curve import CostCurve
from service.batching.policy import corrected_bias, predicted_wait_s
from service.batching.queue import Queue


class Forecast:
    """Predicts waits and runs.

    Args:
        config: the version's knobs.
        curve: seconds by rows.
        crew: the engines.
    """

    def __init__(self, config: BatchConfig, curve: CostCurve, crew: Crew) -> None:
        self._config = config
        self._curve = curve
        self._crew = crew
        self._biases = [1.0] * (config.levels + 1)
        self._known = _Run(0.0, math.inf)
        self._known_samples = -1  # of the curve, when that was worked out

    def wait_s(self, queue: Queue, level: int, now_s: float) -> float:
        """Seconds until a newcomer of `level` would start to run."""
        crew, best = self._crew, self._known
        if self._known_samples != self._curve.samples:
            best = self._best_run(queue, now_s)
        rows = queue.rows_before(level) if level else queue.rows
        return predicted_wait_s(rows, best.rows_per_s, crew.size, crew.free_at_s - now_s) * self._biases[level]

    def run_s(self, rows: int) -> float:
        """Seconds that the runs of one request take."""
        max_rows = self._config.max_rows
        if rows <= max_rows:
            return self._curve.predict_s(rows)
        return rows / max_rows * self._curve.predict_s(max_rows) / max(1, self._crew.size)

    def best_run_s(self, queue: Queue, now_s: float) -> float:
        """Seconds of a run of the size that an engine aims at while much waits."""
        return self._best_run(queue, now_s).seconds

    def learn(self, level: int, predicted_s: float, waited_s: float) -> None:
        """A request of `level` for which `wait_s` said `predicted_s` has waited that long when its run began."""
        self._biases[level] = corrected_bias(self._biases[level], predicted_s, waited_s)

    def _best_run(self, queue: Queue, now_s: float) -> _Run:
        """What an engine does at its best; while no run has ended, what the one under way can still turn out to be."""
        if self._known_samples == self._curve.samples:
            return self._known
        if self._config.mixes:
            rows = self._curve.full_rows
        else:  # each runs by itself, so the best batch is none of theirs
            rows = round(queue.rows / queue.requests) if queue.requests else 1
        seconds = self._curve.predict_s(rows)
        keeps = seconds > 0 and self._config.mixes
        if seconds <= 0 and self._crew.free_at_s != -math.inf:
            seconds = now_s - self._crew.free_at_s
        best = _Run(seconds, rows / seconds if seconds > 0 else math.inf)
        if keeps:
            self._known, self._known_samples = best, self._curve.samples
        return best


class _Run(NamedTuple):
    seconds: float
    rows_per_s: float
