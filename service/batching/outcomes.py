"""What a run that came back means for the requests in it: answers, another try in halves, or an error of their own.

Knows nothing of queues or engines: it says who ended and what is to run again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from service.batching.contract import Answer, BatchObserver
from service.batching.costs import Costs
from service.batching.crew import CrewLimits
from service.batching.forming import Former
from service.batching.run import Run
from service.batching.suspects import Suspects
from service.batching.ticket import Piece, Ticket, enter
from service.core.errors import RetortError, RunFailed, Stuck, Unavailable


class Outcomes:
    """Judges runs.

    Args:
        answer: ends a ticket with its answer, or has that wait its turn.
        former: told which failed batches are to run again in halves.
        suspects: told of a request that failed by itself, and of those that did not.
        observer: hears of batches and failures.
        costs: learn of every run that came back well.
        fail: ends a ticket with an error.
        limits: named in the error of a run that took too long.
    """

    def __init__(
        self,
        answer: Callable[[Ticket, Answer, float], object],
        former: Former,
        suspects: Suspects,
        observer: BatchObserver,
        costs: Costs,
        fail: Callable[[Ticket, RetortError], None],
        limits: CrewLimits,
    ) -> None:
        self._answer = answer
        self._former = former
        self._suspects = suspects
        self._observer = observer
        self._costs = costs
        self._fail = fail
        self._limits = limits

    def judge(self, run: Run, now_s: float) -> None:
        """Ends, or sends to run again, every request of a run that came back."""
        for piece in run.pieces:
            piece.run = None
        if run.traced and run.started_s:
            traced = run.traced_run(now_s)
            traced.traces[0][0].ran(traced)
        if run.error is None:
            self._succeeded(run, now_s)
        elif run.skip:
            self._give_up(run, "was stopped")
        else:
            self._failed(run, run.error, now_s)

    def lose(self, run: Run) -> None:
        """Ends every request of a run that was given up together with its engine."""
        for piece in run.pieces:
            piece.run = None
        self._give_up(run, "could not be stopped")

    def _succeeded(self, run: Run, now_s: float) -> None:
        self._costs.observe(run)
        self._observer.batch_ran(run.report())
        for piece, outputs in zip(run.pieces, run.parts, strict=True):
            ticket = piece.ticket
            if ticket.ended:
                continue
            try:
                enter(piece, outputs)
            except RunFailed as error:
                self._fail(ticket, error)
                continue
            ticket.finite = ticket.finite and run.finite
            ticket.missing -= 1
            if not ticket.missing:
                self._complete(ticket, run, now_s)

    def _complete(self, ticket: Ticket, run: Run, now_s: float) -> None:
        outputs = ticket.outputs or {}
        self._answer(ticket, Answer(outputs, run.timing(ticket.arrived_s), run.rows, ticket.finite), now_s)
        self._suspects.absolve(ticket.origin, now_s)

    def _failed(self, run: Run, error: BaseException, now_s: float) -> None:
        self._observer.run_failed(run.rows, run.counted_requests, error, run.detail)
        if isinstance(error, Unavailable):
            self._fail_all(run, error)  # nothing is wrong with any of the requests: no use in looking for a bad one
        elif len(run.pieces) > 1:
            self._former.bisect(run)
        else:
            self._blame(run.pieces[0], error, now_s)

    def _blame(self, piece: Piece, error: BaseException, now_s: float) -> None:
        self._suspects.strike(piece.ticket.origin, now_s)
        if not isinstance(error, RetortError):
            error = RunFailed("the model failed on this request")
        self._fail(piece.ticket, error)

    def _fail_all(self, run: Run, error: RetortError) -> None:
        for piece in run.pieces:
            # A copy each: an exception raised to several waiters would collect all their tracebacks.
            self._fail(piece.ticket, copy.copy(error))

    def _give_up(self, run: Run, how: str) -> None:
        error = Stuck(f"the run took longer than {self._limits.run_timeout_s:g} s and {how}")
        if run.wanted:
            self._observer.run_failed(run.rows, run.counted_requests, error, "")
        self._fail_all(run, error)
