"""What a run that came back means: answers, another try in halves, or an error of one's own (B3, B4)."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service.batching.contract import Answer, BatchConfig, CloseReason
from service.batching.costs import Costs
from service.batching.crew import CrewLimits
from service.batching.curve import CostCurve
from service.batching.forming import Former
from service.batching.ledger import Ledger
from service.batching.outcomes import Outcomes
from service.batching.run import Run
from service.batching.suspects import Suspects
from service.batching.ticket import Ticket, cut
from service.core.errors import BadInput, Expired, NotReady, RetortError, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualClock, RecordingObserver, ids


class Bench:
    """Outcomes with everything real around it but engines and time."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger()
        self.former = Former(BatchConfig(max_rows=4), CostCurve(4))
        self.suspects = Suspects()
        self.observer = RecordingObserver()
        self.curve = CostCurve(4)
        self.outcomes = Outcomes(
            self.ledger.answer,
            self.former,
            self.suspects,
            self.observer,
            Costs(self.curve),
            lambda ticket, error: self.ledger.fail(ticket, error) and None,
            CrewLimits(30.0, 2.0),
        )

    def ticket(self, first: int, rows: int = 1, *, deadline_s: float = 1e9, origin: str = "") -> Ticket:
        made = Ticket(asyncio.get_running_loop().create_future(), 1000.0, deadline_s, origin)
        cut(made, ids(first, rows), rows, max_rows=4, alone=False)
        self.ledger.open(made)
        return made

    def run(self, *tickets: Ticket, engine: Any = None, skip: bool = False) -> Run:
        run = Run([piece for ticket in tickets for piece in ticket.pieces], CloseReason.FULL)
        run.execute(engine or FakeEngine(), self.clock)
        run.skip = skip
        return run

    def judge(self, run: Run) -> None:
        self.outcomes.judge(run, self.clock.now_s())


class Raising(FakeEngine):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def run(self, arrays: Any) -> Any:
        raise self.error


async def test_everyone_gets_their_own_answer() -> None:
    bench = Bench()
    one, two = bench.ticket(1), bench.ticket(10, 2)
    bench.judge(bench.run(one, two))
    assert np.array_equal(one.future.result().outputs["y"], ids(1, 1)["x"] * 2)
    assert np.array_equal(two.future.result().outputs["y"], ids(10, 2)["x"] * 2)
    assert isinstance(one.future.result(), Answer)
    assert one.future.result().batch_rows == 3
    assert [(report.rows, report.requests) for report in bench.observer.reports] == [(3, 2)]


async def test_the_curve_learns_from_a_run() -> None:
    bench = Bench()
    run = bench.run(bench.ticket(1, 2))
    run.ended_s = run.started_s + 0.25
    bench.judge(run)
    assert bench.curve.predict_s(2) == 0.25


async def test_a_request_in_pieces_is_answered_with_its_last_piece() -> None:
    bench = Bench()
    ticket = bench.ticket(0, 6)
    first, second = (Run([piece], CloseReason.FULL) for piece in ticket.pieces)
    for run in (second, first):
        assert not ticket.future.done()
        run.execute(FakeEngine(), bench.clock)
        bench.judge(run)
    assert np.array_equal(ticket.future.result().outputs["y"], ids(0, 6)["x"] * 2)


async def test_pieces_that_do_not_fit_together_fail_the_request() -> None:
    bench = Bench()
    ticket = bench.ticket(0, 6)
    first, second = (Run([piece], CloseReason.FULL) for piece in ticket.pieces)
    for run, engine in ((first, FakeEngine()), (second, Raising(KeyError()))):
        run.execute(engine, bench.clock)
    second.parts, second.error = [{"z": np.ones((2, 1))}], None
    bench.judge(first)
    bench.judge(second)
    assert isinstance(ticket.future.exception(), RunFailed)


async def test_an_answer_after_the_deadline_is_an_expiry() -> None:
    bench = Bench()
    ticket = bench.ticket(1, deadline_s=1000.0)
    bench.judge(bench.run(ticket))
    assert isinstance(ticket.future.exception(), Expired)


async def test_whoever_ended_meanwhile_is_passed_over() -> None:
    bench = Bench()
    gone, stays = bench.ticket(1), bench.ticket(2)
    run = bench.run(gone, stays)
    bench.ledger.fail(gone, Stuck("gone"))
    bench.judge(run)
    assert isinstance(gone.future.exception(), Stuck)
    assert stays.future.result().outputs["y"][0, 0] == 4


async def test_a_failed_batch_runs_again_in_halves_and_nobody_ends() -> None:
    bench = Bench()
    tickets = [bench.ticket(n) for n in (1, 2, 3)]
    bench.judge(bench.run(*tickets, engine=Raising(ValueError("boom"))))
    assert [ticket.ended for ticket in tickets] == [False] * 3
    halves = [bench.former.next_run(0.0, 1, draining=False) for _ in range(2)]
    assert [len(half.pieces) for half in halves if half] == [1, 2]
    assert [(rows, requests) for rows, requests, _, _ in bench.observer.failures] == [(3, 3)]


@pytest.mark.parametrize("error", [BadInput("token 7 is over the vocabulary"), RunFailed("no memory")])
async def test_alone_a_request_fails_with_the_engines_own_typed_error(error: RetortError) -> None:
    bench = Bench()
    ticket = bench.ticket(1)
    bench.judge(bench.run(ticket, engine=Raising(error)))
    assert ticket.future.exception() is error


@pytest.mark.parametrize("error", [ValueError("/secret/path"), SystemExit(3), MemoryError()])
async def test_anything_else_becomes_a_clean_sentence_and_the_detail_goes_to_the_observer(error: BaseException) -> None:
    bench = Bench()
    ticket = bench.ticket(1)
    bench.judge(bench.run(ticket, engine=Raising(error)))
    seen = ticket.future.exception()
    assert isinstance(seen, RunFailed)
    assert str(seen) == "the model failed on this request"
    ((_, _, told, detail),) = bench.observer.failures
    assert told is error
    assert "Traceback" in detail


async def test_only_who_fails_alone_becomes_a_suspect() -> None:
    bench = Bench()
    bad = Raising(ValueError())
    for _ in range(3):
        bench.judge(bench.run(bench.ticket(1, origin="a"), bench.ticket(2, origin="b"), engine=bad))
    assert not bench.suspects.suspected("a", 1000.0)
    for _ in range(3):
        bench.judge(bench.run(bench.ticket(1, origin="a"), engine=bad))
    assert bench.suspects.suspected("a", 1000.0)
    assert not bench.suspects.suspected("b", 1000.0)


async def test_an_engine_that_is_unavailable_fails_all_at_once_and_blames_nobody() -> None:
    bench = Bench()
    tickets = [bench.ticket(n, origin="a") for n in range(3)]
    bench.judge(bench.run(*tickets, engine=Raising(NotReady("the remote server is away", retry_after_s=7))))
    errors = [ticket.future.exception() for ticket in tickets]
    assert [(str(error), error.retry_after_s) for error in errors if isinstance(error, NotReady)] == [
        ("the remote server is away", 7)
    ] * 3
    assert len({id(error) for error in errors}) == 3
    assert bench.former.empty
    assert len(bench.suspects) == 0


async def test_a_run_that_was_stopped_fails_who_still_waits() -> None:
    bench = Bench()
    tickets = [bench.ticket(1), bench.ticket(2)]
    bench.judge(bench.run(*tickets, engine=Raising(Stuck("stopped")), skip=True))
    assert [str(ticket.future.exception()) for ticket in tickets] == [
        "the run took longer than 30 s and was stopped"
    ] * 2
    assert len(bench.observer.failures) == 1
    assert bench.former.empty


async def test_a_run_that_was_stopped_because_nobody_waits_is_no_failure() -> None:
    bench = Bench()
    ticket = bench.ticket(1)
    run = bench.run(ticket, engine=Raising(Stuck("stopped")), skip=True)
    bench.ledger.fail(ticket, Expired("late"))
    run.wanted = 0
    bench.judge(run)
    assert bench.observer.failures == []


async def test_a_run_that_ends_well_though_it_was_asked_to_stop_still_answers() -> None:
    bench = Bench()
    ticket = bench.ticket(1)
    bench.judge(bench.run(ticket, skip=True))
    assert ticket.future.result().outputs["y"][0, 0] == 2


async def test_a_lost_run_fails_everyone_in_it() -> None:
    bench = Bench()
    tickets = [bench.ticket(1), bench.ticket(2)]
    run = Run([piece for ticket in tickets for piece in ticket.pieces], CloseReason.FULL)
    bench.outcomes.lose(run)
    errors = [ticket.future.exception() for ticket in tickets]
    assert all(isinstance(error, Stuck) for error in errors)
    assert str(errors[0]) == "the run took longer than 30 s and could not be stopped"
    assert all(piece.run is None for piece in run.pieces)


@pytest.mark.parametrize("fault", [Fault.WRONG_LENGTH, Fault.NOT_ARRAYS])
async def test_wrong_outputs_alone_are_a_typed_error(fault: Fault) -> None:
    bench = Bench()
    ticket = bench.ticket(1, 2)
    bench.judge(bench.run(ticket, engine=FakeEngine([Act(fault=fault)])))
    assert isinstance(ticket.future.exception(), RunFailed)


class NotFinite(FakeEngine):
    """Answers infinity to every row from `first` on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def run(self, arrays: Any) -> Any:
        outputs = super().run(arrays)
        return {
            name: np.where(array >= self.first, np.inf, array.astype(np.float32)) for name, array in outputs.items()
        }


async def test_an_answer_is_known_to_be_finite_only_where_its_whole_run_was() -> None:
    bench = Bench()
    one, other = bench.ticket(1), bench.ticket(2)
    bench.judge(bench.run(one, other))
    assert [(await ticket.future).finite for ticket in (one, other)] == [True, True]
    one, other = bench.ticket(1), bench.ticket(1_000_000)
    bench.judge(bench.run(one, other, engine=NotFinite(1000)))
    assert [(await ticket.future).finite for ticket in (one, other)] == [False, False]


async def test_so_it_is_of_a_request_in_several_runs() -> None:
    bench = Bench()
    ticket = bench.ticket(1, rows=6)
    for piece, engine in zip(tuple(ticket.pieces), (NotFinite(0), NotFinite(1000)), strict=True):
        run = Run([piece], CloseReason.FULL)
        run.execute(engine, bench.clock)
        bench.judge(run)
    assert not (await ticket.future).finite
