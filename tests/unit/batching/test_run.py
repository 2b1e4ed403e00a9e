"""One run: what happens on the engine's thread, and what comes back."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from service.batching.contract import BatchReport, CloseReason
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket, cut
from service.core.contract import Timing
from service.core.errors import BadInput, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualClock, ids


class Waiter:
    """A future that nobody has left, or somebody."""

    def __init__(self, left: bool = False) -> None:
        self.left = left

    def done(self) -> bool:
        return self.left


def piece(first: int, rows: int | None = 1, *, left: bool = False) -> Piece:
    ticket = Ticket(Waiter(left), 0.0, 0.0)  # type: ignore[arg-type]
    cut(ticket, ids(first, 1 if rows is None else rows), rows, max_rows=100, alone=False)
    return ticket.pieces[0]


class TickingEngine(FakeEngine):
    """Takes manual time."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    def run(self, arrays: Any) -> Any:
        self._clock.advance(self._seconds)
        return super().run(arrays)


def test_a_run_leaves_out_whom_nobody_waits_for() -> None:
    run = Run([piece(1), piece(2, left=True), piece(3, 4)], CloseReason.FULL)
    assert [each.inputs["x"][0, 0] for each in run.pieces] == [1, 3]
    assert (run.rows, run.wanted) == (5, 2)
    assert all(each.run is run for each in run.pieces)


def test_execute_gives_everyone_their_rows() -> None:
    run = Run([piece(1), piece(10, 2)], CloseReason.FULL)
    run.execute(FakeEngine(), ManualClock())
    assert [part["y"][:, 0].tolist() for part in run.parts] == [[2], [20, 22]]
    assert run.error is None


def test_the_phases_in_nanoseconds() -> None:
    clock = ManualClock(50.0)
    run = Run([piece(1), piece(2)], CloseReason.DELAY)
    run.execute(TickingEngine(clock, 0.25), clock)
    assert (run.started_s, run.ended_s) == (50.0, 50.25)
    assert run.timing(arrived_s=49.5) == Timing(queue_ns=500_000_000, input_ns=0, infer_ns=250_000_000, output_ns=0)
    assert run.report() == BatchReport(2, 2, 0, 250_000_000, 0, CloseReason.DELAY)


@pytest.mark.parametrize(
    ("fault", "kind", "known"),
    [
        (Fault.RAISES, ValueError, False),
        (Fault.EXITS, SystemExit, False),
        (Fault.WRONG_LENGTH, RunFailed, True),
        (Fault.NOT_ARRAYS, RunFailed, True),
    ],
)
def test_whatever_an_engine_does_comes_back_as_an_error(fault: Fault, kind: type, known: bool) -> None:
    run = Run([piece(1)], CloseReason.FULL)
    run.execute(FakeEngine([Act(fault=fault)]), ManualClock())
    assert run.parts == []
    assert type(run.error) is kind
    assert run.error.__traceback__ is None
    assert (run.detail == "") == known
    if not known:
        assert "Traceback" in run.detail


def test_what_is_skipped_never_reaches_the_engine() -> None:
    run = Run([piece(1)], CloseReason.FULL)
    run.skip = True
    engine = FakeEngine()
    run.execute(engine, ManualClock())
    assert isinstance(run.error, Stuck)
    assert engine.batches == []


def test_a_failed_run_is_in_no_reference_cycle() -> None:
    class Failing(FakeEngine):
        def run(self, arrays: Any) -> Any:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise BadInput("outer") from error

    gc.disable()
    try:
        run = Run([piece(1)], CloseReason.FULL)
        run.execute(Failing(), ManualClock())
        array = weakref.ref(run.pieces[0].inputs["x"])
        run.pieces[0].run = None  # as the loop does when it takes the run back,
        run.pieces[0].ticket.pieces = []  # and as the ledger does when it ends the ticket
        del run
        assert array() is None
    finally:
        gc.enable()


def test_a_piece_without_rows_counts_as_one_row() -> None:
    run = Run([piece(1, None)], CloseReason.IDLE_RUNNER)
    run.execute(FakeEngine(), ManualClock())
    assert run.rows == 1
    assert np.array_equal(run.parts[0]["y"], ids(1, 1)["x"] * 2)
