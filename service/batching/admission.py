"""Who is let in: a bounded queue, and deadlines that can be met. Whoever is refused costs nothing more."""

from __future__ import annotations

import math

from service.batching.contract import BatchConfig
from service.batching.crew import Crew
from service.batching.curve import CostCurve
from service.batching.endings import expired
from service.batching.policy import predicted_wait_s, retry_after_s
from service.batching.queue import Queue
from service.batching.ticket import Ticket
from service.core.errors import Rejected


class Admission:
    """The door of one batcher."""

    def __init__(self, config: BatchConfig, curve: CostCurve, crew: Crew) -> None:
        self._config = config
        self._curve = curve
        self._crew = crew

    def admit(self, queue: Queue, rows: int, ticket: Ticket, places: int) -> None:
        """Lets a request of `rows` rows in, or raises.

        Args:
            queue: what waits already.
            rows: its own.
            ticket: it, without pieces: its level, deadline, and how long it may wait.
            places: requests of its level that may wait beside one another; none or fewer where others fill them.

        Raises:
            Expired: its deadline has passed already.
            Rejected: the queue is full, or its deadline or its time to wait cannot be met.
        """
        now_s, level = ticket.arrived_s, ticket.level
        if now_s >= ticket.deadline_s:
            raise expired()
        if not queue.requests and self._crew.idle and places > 0:
            return  # also where the curve says that no deadline can be met: only a run can prove it wrong
        waiting = queue.requests_of(level)
        if waiting >= places:
            which = f"the queue of priority level {level}" if level else "the queue"
            sentence = f"{which} is full: {waiting} requests wait already"
            raise Rejected(sentence, retry_after_s(self._wait_s(queue, level, now_s)))
        until_s = math.inf if ticket.delays else ticket.wait_until_s
        if ticket.deadline_s == math.inf and until_s == math.inf:
            return
        wait_s = self._wait_s(queue, level, now_s)
        needed_s, left_s = wait_s + self._run_s(rows), ticket.deadline_s - now_s
        if needed_s > left_s:
            sentence = f"an answer takes about {needed_s * 1e3:.0f} ms now, and {left_s * 1e3:.0f} ms are left"
            raise Rejected(f"the deadline cannot be met: {sentence}", retry_after_s(wait_s))
        left_s = until_s - now_s
        if wait_s > left_s:
            sentence = f"about {wait_s * 1e3:.0f} ms pass before a run now, and {left_s * 1e3:.0f} ms are allowed"
            raise Rejected(f"the timeout would pass in the queue: {sentence}", retry_after_s(wait_s))

    def _run_s(self, rows: int) -> float:
        """Predicted seconds of the request's own runs."""
        max_rows = self._config.max_rows
        if rows <= max_rows:
            return self._curve.predict_s(rows)
        return rows / max_rows * self._curve.predict_s(max_rows) / max(1, self._crew.size)

    def _wait_s(self, queue: Queue, level: int, now_s: float) -> float:
        crew = self._crew
        return predicted_wait_s(queue.rows_before(level), self._rows_per_s(queue), crew.size, crew.free_at_s - now_s)

    def _rows_per_s(self, queue: Queue) -> float:
        if self._config.mixes or not queue.requests:
            return self._curve.rows_per_s
        rows = round(queue.rows / queue.requests)  # each runs by itself, so the best batch is none of theirs
        return rows / max(self._curve.predict_s(rows), 1e-9)
