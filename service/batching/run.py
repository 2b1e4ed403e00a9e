"""One run of an engine over some pieces: built on the event loop, executed on an engine's thread, read on the loop.

Who owns it: the loop until it is handed over, the engine's thread until it comes back, then the loop again. Only
`skip` crosses: the loop sets it, the thread reads it once.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from service.batching.batch import split, stack
from service.batching.contract import BatchReport, CloseReason, Engine, Outputs, Timing
from service.batching.ticket import Piece
from service.core.clock import Clock
from service.core.errors import RetortError, Stuck

_NS = 1e9


class Run:
    """A batch on its way.

    Args:
        pieces: of one key; those that nobody wants any more are left out.
        reason: why the batch was closed.

    Attributes:
        pieces: in the order of their rows; may be empty.
        rows: of the batch; a piece without rows counts as one.
        wanted: pieces somebody still waits for.
        skip: not worth starting any more.
        parts: each piece's outputs, None when the run failed.
        error: why it failed, without a traceback; `detail` holds that, as text, where the error was not expected.
    """

    __slots__ = (
        "_infer_s",
        "_input_s",
        "_output_s",
        "_started_s",
        "detail",
        "error",
        "parts",
        "pieces",
        "reason",
        "rows",
        "skip",
        "wanted",
    )

    def __init__(self, pieces: Sequence[Piece], reason: CloseReason) -> None:
        self.pieces = [piece for piece in pieces if piece.ticket.wanted]
        self.rows = sum(piece.weight for piece in self.pieces)
        self.reason = reason
        self.wanted = len(self.pieces)
        self.skip = False
        self.parts: list[Outputs] | None = None
        self.error: BaseException | None = None
        self.detail = ""
        self._started_s = self._input_s = self._infer_s = self._output_s = 0.0
        for piece in self.pieces:
            piece.run = self

    def execute(self, engine: Engine, clock: Clock) -> None:
        """Stacks, runs, splits; never raises. Called once, on the engine's thread."""
        self._started_s = clock.now_s()
        try:
            if self.skip:
                raise Stuck("the run was given up before it began")
            arrays = stack(self.pieces)
            self._input_s = clock.now_s()
            outputs = engine.run(arrays)
            self._infer_s = clock.now_s()
            self.parts = split(outputs, self.pieces)
            self._output_s = clock.now_s()
        except BaseException as error:  # SystemExit too must not end the thread: tickets hang on it
            if not isinstance(error, RetortError):
                self.detail = "".join(traceback.format_exception(error))
            # A traceback would tie this run, and with it everyone's arrays, into a cycle.
            self.error = error.with_traceback(None)
            self.error.__cause__ = self.error.__context__ = None

    @property
    def seconds(self) -> float:
        """What the batch cost on its engine's thread."""
        return self._output_s - self._started_s

    def timing(self, arrived_s: float) -> Timing:
        """The phases as a request sees them that arrived at `arrived_s`."""
        return Timing(
            round((self._started_s - arrived_s) * _NS),
            round((self._input_s - self._started_s) * _NS),
            round((self._infer_s - self._input_s) * _NS),
            round((self._output_s - self._infer_s) * _NS),
        )

    def report(self) -> BatchReport:
        """The phases as the observer sees them."""
        _, input_ns, infer_ns, output_ns = self.timing(self._started_s)
        return BatchReport(self.rows, len(self.pieces), input_ns, infer_ns, output_ns, self.reason)
