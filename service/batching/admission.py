"""Who is let in: a bounded queue, and deadlines that can be met. Whoever is refused costs nothing more."""

from __future__ import annotations

import math

from service.batching.contract import BatchConfig
from service.batching.crew import Crew
from service.batching.curve import CostCurve
from service.batching.ledger import expired
from service.batching.policy import predicted_wait_s, retry_after_s
from service.batching.queue import Queue
from service.core.errors import Rejected


class Admission:
    """The door of one batcher."""

    def __init__(self, config: BatchConfig, curve: CostCurve, crew: Crew) -> None:
        self._config = config
        self._curve = curve
        self._crew = crew

    def admit(self, queue: Queue, rows: int, deadline_s: float, now_s: float) -> None:
        """Lets a request of `rows` rows in, or raises.

        Raises:
            Expired: its deadline has passed already.
            Rejected: the queue is full, or its deadline cannot be met.
        """
        if now_s >= deadline_s:
            raise expired()
        if not queue.requests and self._crew.idle:
            return  # also where the curve says that no deadline can be met: only a run can prove it wrong
        if queue.requests >= self._config.max_queue:
            sentence = f"the queue is full: {queue.requests} requests wait already"
            raise Rejected(sentence, retry_after_s(self._wait_s(queue, now_s)))
        if deadline_s == math.inf:
            return
        wait_s = self._wait_s(queue, now_s)
        needed_s, left_s = wait_s + self._run_s(rows), deadline_s - now_s
        if needed_s > left_s:
            sentence = f"an answer takes about {needed_s * 1e3:.0f} ms now, and {left_s * 1e3:.0f} ms are left"
            raise Rejected(f"the deadline cannot be met: {sentence}", retry_after_s(wait_s))

    def _run_s(self, rows: int) -> float:
        """Predicted seconds of the request's own runs."""
        max_rows = self._config.max_rows
        if rows <= max_rows:
            return self._curve.predict_s(rows)
        return rows / max_rows * self._curve.predict_s(max_rows) / max(1, self._crew.size)

    def _wait_s(self, queue: Queue, now_s: float) -> float:
        crew = self._crew
        return predicted_wait_s(queue.rows, self._rows_per_s(queue), crew.size, crew.free_at_s - now_s)

    def _rows_per_s(self, queue: Queue) -> float:
        if self._config.mixes or not queue.requests:
            return self._curve.rows_per_s
        rows = round(queue.rows / queue.requests)  # each runs by itself, so the best batch is none of theirs
        return rows / max(self._curve.predict_s(rows), 1e-9)
