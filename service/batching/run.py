"""One run of an engine over some pieces: built on the event loop, executed on an engine's thread, read on the loop.

Who owns it: the loop until it is handed over, the engine's thread until it comes back, then the loop again. Only
`skip` crosses: the loop sets it, the thread reads it once.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from service.batching.batch import PLAIN, Stacking
from service.batching.contract import BatchReport, CloseReason, Engine, Outputs, TracedRun
from service.batching.ticket import Piece, Ticket
from service.core.clock import Clock
from service.core.contract import Timing
from service.core.errors import RetortError, Stuck
from service.core.finite import all_finite


class Run:
    """A batch on its way.

    Args:
        pieces: of one key; those that nobody wants any more are left out.
        reason: why the batch was closed.
        stacking: how they become one batch, and its outputs theirs.

    Attributes:
        pieces: in the order of their rows; may be empty.
        rows: of the batch; a piece without rows counts as one.
        counted_rows, counted_requests: of those that are not quiet.
        wanted: pieces somebody still waits for.
        skip: not worth starting any more.
        started_s, ended_s: on the engine's thread, monotonic seconds; `ended_s` only of a run that succeeded.
        parts: each piece's outputs, when the run succeeded.
        finite: whether all of them are finite: looked at here, once for everyone.
        error: why it failed, without a traceback; None when it did not.
        detail: the traceback as text, where the error was not an expected one.
        traced: the requests in it that are traced.
    """

    __slots__ = (
        "_phases_ns",
        "_stacking",
        "counted_requests",
        "counted_rows",
        "detail",
        "ended_s",
        "error",
        "finite",
        "parts",
        "pieces",
        "reason",
        "rows",
        "skip",
        "started_s",
        "traced",
        "wanted",
    )

    def __init__(self, pieces: Sequence[Piece], reason: CloseReason, stacking: Stacking = PLAIN) -> None:
        self._stacking = stacking
        self.pieces: list[Piece] = []
        self.rows = self.counted_rows = self.counted_requests = 0
        self.reason = reason
        self.skip = False
        self.parts: list[Outputs] = []
        self.finite = False
        self.error: BaseException | None = None
        self.detail = ""
        self.started_s = self.ended_s = 0.0
        self._phases_ns = (0, 0, 0)
        self.traced: list[Ticket] = []
        for piece in pieces:
            ticket = piece.ticket
            if not ticket.wanted:
                continue
            piece.run = self
            self.pieces.append(piece)
            self.rows += piece.weight
            if not ticket.quiet:
                self.counted_rows += piece.weight
                self.counted_requests += 1
            if ticket.trace is not None and ticket not in self.traced:
                self.traced.append(ticket)
        self.wanted = len(self.pieces)

    @property
    def began(self) -> bool:
        """Whether the engine's thread came to it."""
        return self.started_s > 0

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return self.ended_s > 0 or self.error is not None

    def give_up(self) -> None:
        """It is to be stopped, or not to be begun."""
        self.skip = True

    def execute(self, engine: Engine, clock: Clock) -> None:
        """Stacks, runs, splits; never raises. Called once, on the engine's thread."""
        self.started_s = clock.now_s()
        try:
            if self.skip:
                raise Stuck("the run was given up before it began")
            arrays = self._stacking.stack(self.pieces)
            stacked_s = clock.now_s()
            outputs = engine.run(arrays)
            ran_s = clock.now_s()
            self.parts = self._stacking.split(outputs, self.pieces)
            self.finite = all_finite(outputs)
            self.ended_s = ended_s = clock.now_s()
            phases_s = stacked_s - self.started_s, ran_s - stacked_s, ended_s - ran_s
            self._phases_ns = int(phases_s[0] * 1e9), int(phases_s[1] * 1e9), int(phases_s[2] * 1e9)
        except BaseException as error:  # SystemExit too must not end the thread: tickets hang on it
            if not isinstance(error, RetortError):
                self.detail = "".join(traceback.format_exception(error))
            # A traceback would tie this run, and with it everyone's arrays, into a cycle.
            self.error = error.with_traceback(None)
            self.error.__cause__ = self.error.__context__ = None

    def timing(self, arrived_s: float) -> Timing:
        """The phases as a request sees them that arrived at `arrived_s`."""
        return Timing(int((self.started_s - arrived_s) * 1e9), *self._phases_ns)

    def report(self) -> BatchReport:
        """The phases as the observer sees them; quiet requests are not among those it counts."""
        return BatchReport(self.counted_rows, self.counted_requests, *self._phases_ns, self.reason)

    def traced_run(self, now_s: float) -> TracedRun:
        """The run as those see it that follow single requests; `now_s` is when one ended that failed."""
        traces = tuple((ticket.trace, ticket.arrived_s) for ticket in self.traced if ticket.trace is not None)
        return TracedRun(traces, self.report(), self.started_s, self.ended_s or now_s, self.error)
