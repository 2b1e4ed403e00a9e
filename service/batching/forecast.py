"""How long a newcomer would wait, as the cost curve and the queue tell it, put right by how long others did wait.

The curve knows runs alone: what the loop, the threads and longer rows add shows only in the waits themselves. Costs the
same whatever waits. Knows nothing of who is let in.
"""

from __future__ import annotations

import math

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

    def wait_s(self, queue: Queue, level: int, now_s: float) -> float:
        """Seconds until a newcomer of `level` would start to run."""
        crew = self._crew
        free_in_s = crew.free_at_s - now_s
        rows_per_s = self._rows_per_s(queue, -free_in_s)
        predicted_s = predicted_wait_s(queue.rows_before(level), rows_per_s, crew.size, free_in_s)
        return predicted_s * self._biases[level]

    def run_s(self, rows: int) -> float:
        """Seconds that the runs of one request take."""
        max_rows = self._config.max_rows
        if rows <= max_rows:
            return self._curve.predict_s(rows)
        return rows / max_rows * self._curve.predict_s(max_rows) / max(1, self._crew.size)

    def best_run_s(self, queue: Queue) -> float:
        """Seconds of a run of the size that an engine aims at while much waits."""
        if self._config.mixes:
            return self._curve.predict_s(self._curve.full_rows)
        return self._curve.predict_s(_mean_rows(queue))

    def learn(self, level: int, predicted_s: float, waited_s: float) -> None:
        """A request of `level` for which `wait_s` said `predicted_s` has waited that long when its run began."""
        self._biases[level] = corrected_bias(self._biases[level], predicted_s, waited_s)

    def _rows_per_s(self, queue: Queue, busy_for_s: float) -> float:
        """Of one engine; while no run has ended, at most what the one under way can still turn out to have done."""
        if not self._config.mixes and queue.requests:
            rows = _mean_rows(queue)  # each runs by itself, so the best batch is none of theirs
            seconds = self._curve.predict_s(rows)
        else:
            rows, seconds = self._config.max_rows, 0.0
            if self._curve.rows_per_s != math.inf:
                return self._curve.rows_per_s
        if not seconds and 0 < busy_for_s < math.inf:
            seconds = busy_for_s
        return rows / max(seconds, 1e-9)


def _mean_rows(queue: Queue) -> int:
    return round(queue.rows / queue.requests) if queue.requests else 1
