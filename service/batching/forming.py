"""Chooses the next batch out of what waits: halves of a failed one first, then the queue, as `policy` says.

Pure bookkeeping around the policy: knows nothing of engines, and time only as a number it is given.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from service.batching.batch import PLAIN, Stacking
from service.batching.contract import BatchConfig, CloseReason
from service.batching.curve import CostCurve
from service.batching.policy import Patience, Waiting, batch_rows, close_reason, hold_until_s
from service.batching.queue import Bucket, Queue
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket


class Former:
    """What waits to be run, and in which batches.

    Args:
        config: the version's knobs.
        curve: seconds by rows.
        stacking: how pieces become a batch.
        on_taken: hears of the pieces that leave the queue to be run, and when.

    Attributes:
        queue: requests that were not run yet.
        hold_until_s: when the last call of `next_run` that returned None wants to be asked again; `inf` for not by
            itself.
    """

    def __init__(
        self,
        config: BatchConfig,
        curve: CostCurve,
        stacking: Stacking = PLAIN,
        on_taken: Callable[[Queue, list[Piece], float], None] = lambda _queue, _pieces, _now_s: None,
    ) -> None:
        self.queue = Queue()
        self.hold_until_s = math.inf
        self._config = config
        self._curve = curve
        self._stacking = stacking
        self._on_taken = on_taken
        self._halves: deque[tuple[Sequence[Piece], CloseReason]] = deque()

    def add(self, ticket: Ticket) -> None:
        """Takes in every piece of a ticket."""
        for piece in ticket.pieces:
            self.queue.add(piece)

    def discard(self, piece: Piece) -> None:
        """Forgets a piece, wherever it waits; those of a failed batch are looked at when their turn comes."""
        self.queue.discard(piece)

    def delay(self, ticket: Ticket) -> None:
        """Lets a ticket that waits whole wait behind all others of its level."""
        self.queue.delay(ticket)

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.queue.requests and not self._halves

    def clear(self) -> None:
        """Forgets everything."""
        self.queue = Queue()
        self._halves.clear()

    def bisect(self, run: Run) -> None:
        """A run of several pieces failed: both halves run again, before anything else, to find the bad one."""
        middle = len(run.pieces) // 2
        self._halves.extendleft(((run.pieces[middle:], run.reason), (run.pieces[:middle], run.reason)))

    def again(self, run: Run) -> None:
        """A run was not begun: it goes before what has never left the queue."""
        self._halves.append((run.pieces, run.reason))

    @property
    def head(self) -> Piece | None:
        """The piece in the queue whose turn it is; None where another has its turn, or there is none."""
        return None if self._halves else next((bucket.head for bucket in self.queue.buckets()), None)

    def next_run(self, now_s: float, idle_engines: int, *, draining: bool) -> Run | None:
        """The batch that an idle engine should run now, None when there is none yet.

        Args:
            now_s: monotonic seconds.
            idle_engines: at least 1; they share what waits.
            draining: nothing more will arrive, so nothing is waited for.
        """
        while True:
            run = self._half() or self._closed(now_s, idle_engines, draining)
            if run is None or run.pieces:
                return run

    def _half(self) -> Run | None:
        return Run(*self._halves.popleft(), self._stacking) if self._halves else None

    def _closed(self, now_s: float, idle_engines: int, draining: bool) -> Run | None:
        self.hold_until_s = math.inf
        for bucket in self.queue.buckets():
            run = self._close(bucket, now_s, idle_engines, draining)
            if run is not None:
                return run
        return None

    def _close(self, bucket: Bucket, now_s: float, idle_engines: int, draining: bool) -> Run | None:
        config = self._config
        waiting = Waiting(
            rows=bucket.rows,
            others=config.mixes and self.queue.shapes > 1,
            idle_engines=idle_engines,
            max_rows=config.max_rows,
            preferred_rows=config.preferred_rows,
            draining=draining,
        )
        held_for = None
        if config.max_delay_s > 0 and not bucket.head.alone:
            until_s, held_for = hold_until_s(waiting, self._patience(bucket))
            if now_s < until_s:
                self.hold_until_s = min(self.hold_until_s, until_s)
                return None
        pieces = self.queue.take(bucket, batch_rows(waiting, self._curve.best_rows), self._stacking.choose)
        self._on_taken(self.queue, pieces, now_s)
        reason = held_for or close_reason(waiting, waiting.rows - bucket.rows)
        return Run(pieces, reason, self._stacking)

    def _patience(self, bucket: Bucket) -> Patience:
        full_rows = self._curve.full_rows
        full = bucket.rows >= min(full_rows, self._config.max_rows)
        tickets = [] if full else [piece.ticket for piece in bucket.pieces]  # a full batch asks none of the many
        return Patience(
            until_s=min((ticket.arrived_s for ticket in tickets), default=-math.inf) + self._config.max_delay_s,
            soonest_deadline_s=min((min(t.deadline_s, t.wait_until_s) for t in tickets), default=math.inf),
            predicted_s=self._curve.predict_s(bucket.rows),
            full_rows=full_rows,
        )
