"""Engines that overrun are stopped, those that do not stop are replaced, and too many of them is the end (B4)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from service.batching.contract import CloseReason
from service.batching.crew import Crew, CrewLimits
from service.batching.curve import CostCurve
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket, cut
from service.core.errors import BadModel, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualLoop, ManualThreads, ids, run_manually

LIMITS = CrewLimits(run_timeout_s=10.0, stop_grace_s=2.0)


class Owner:
    """A crew and what its owner heard, each with the seconds since the start."""

    def __init__(self, loop: ManualLoop, *engines: FakeEngine, replace: Callable[[], FakeEngine] | None = None) -> None:
        self.loop = loop
        self.log: list[tuple[str, float]] = []
        self.back: list[Run] = []
        self.threads = ManualThreads(loop)
        self.curve = CostCurve(8)
        self.crew = Crew(
            self.threads,
            loop.clock,
            LIMITS,
            self,
            guard=lambda step: step,
            curve=self.curve,
            replace=replace,
            on_fatal=self.note,
        )
        self.crew.join(engines)

    def note(self, what: str) -> None:
        self.log.append((what, round(self.loop.time() - 1000, 3)))

    def run_returned(self, run: Run) -> None:
        self.back.append(run)
        self.note("returned")

    def run_lost(self, run: Run) -> None:
        self.note("lost")

    def crew_changed(self) -> None:
        self.note(f"changed {self.crew.size}")

    def dispatch(self) -> Run:
        run = Run([piece(self.loop)], CloseReason.FULL)
        self.crew.dispatch(run, self.loop.time())
        return run


def piece(loop: ManualLoop) -> Piece:
    ticket = Ticket(loop.create_future(), 0.0, 0.0)
    cut(ticket, ids(1, 1), 1, max_rows=8, alone=False)
    return ticket.pieces[0]


def play(body: Callable[[ManualLoop], Awaitable[None]]) -> None:
    run_manually(body)


def deaf() -> FakeEngine:
    return FakeEngine([Act(fault=Fault.DEAF)] * 9)


def test_an_engine_is_busy_until_its_run_returns() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine([Act(3.0)]), FakeEngine())
        assert (owner.crew.size, owner.crew.idle, owner.crew.busy) == (2, 2, [])
        owner.crew.dispatch(first := Run([piece(loop)], CloseReason.FULL), loop.time())
        owner.crew.dispatch(second := Run([piece(loop)], CloseReason.FULL), loop.time())
        assert (owner.crew.idle, set(owner.crew.busy)) == (0, {first, second})
        await asyncio.sleep(5)
        assert (owner.crew.idle, owner.crew.busy, len(owner.back)) == (2, [], 2)

    play(body)


def test_when_an_engine_will_be_free() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine([Act(3.0)]), FakeEngine([Act(3.0)]))
        owner.curve.observe(1, 0.5)
        owner.dispatch()
        assert owner.crew.free_at_s == -math.inf
        await asyncio.sleep(0.1)
        owner.dispatch()
        assert owner.crew.free_at_s == pytest.approx(1000.5)
        await owner.crew.end()
        assert owner.crew.free_at_s == -math.inf

    play(body)


def test_a_run_over_its_time_is_stopped() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine([Act(fault=Fault.HANGS)]))
        run = owner.dispatch()
        await asyncio.sleep(20)
        assert owner.log == [("returned", 10.0)]
        assert isinstance(run.error, Stuck)
        assert run.skip
        assert owner.crew.idle == 1

    play(body)


def test_control_a_run_within_its_time_is_left_alone() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, engine := FakeEngine([Act(9.9), Act(9.9)]))
        for _ in range(2):
            run = owner.dispatch()
            await asyncio.sleep(9.95)
            assert run.error is None
        assert engine.stops == 0

    play(body)


def test_a_run_that_nobody_wants_is_stopped_at_once() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine([Act(5.0)]))
        run = owner.dispatch()
        await asyncio.sleep(1)
        owner.crew.stop(run)
        await asyncio.sleep(1)
        assert owner.log == [("returned", 1.0)]

    play(body)


def test_stopping_a_run_that_is_over_stops_nothing() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, engine := FakeEngine())
        run = owner.dispatch()
        await asyncio.sleep(1)
        owner.crew.stop(run)
        assert engine.stops == 0

    play(body)


def test_the_request_to_stop_is_repeated_because_one_before_the_run_begins_is_lost() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, engine := deaf())
        owner.crew.stop(owner.dispatch())
        await asyncio.sleep(1)
        assert engine.stops > 10

    play(body)


def test_an_engine_that_does_not_stop_is_replaced_and_its_run_lost() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, stuck := deaf(), replace=lambda: fresh)
        fresh = FakeEngine()
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.log == [("lost", 12.0), ("changed 0", 12.0), ("changed 1", 12.05)]
        assert owner.crew.engines == [fresh]
        assert stuck not in owner.crew.engines
        owner.dispatch()
        await asyncio.sleep(1)
        assert owner.log[-1][0] == "returned"

    play(body)


def test_a_run_that_comes_back_after_it_was_given_up_is_not_heard() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=FakeEngine)
        owner.dispatch()
        await asyncio.sleep(20)
        owner.threads.lines[0]._finish()
        assert owner.back == []
        assert owner.crew.idle == 1

    play(body)


def test_an_engine_whose_stop_raises_is_given_up_like_a_deaf_one() -> None:
    class Unstoppable(FakeEngine):
        def stop(self) -> None:
            raise OSError("no")

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, Unstoppable([Act(fault=Fault.DEAF)]), replace=FakeEngine)
        owner.dispatch()
        await asyncio.sleep(20)
        assert ("lost", 12.0) in owner.log
        assert owner.crew.size == 1

    play(body)


def test_a_client_that_leaves_a_long_run_costs_no_engine() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf())
        owner.curve.observe(1, 5.0)  # usual for this model: an operator that cannot be stopped
        run = owner.dispatch()
        await asyncio.sleep(0.5)
        owner.crew.stop(run)
        await asyncio.sleep(4.5)
        owner.threads.lines[0]._finish()
        assert owner.crew.size == 1
        assert owner.log == [("returned", 5.0)]

    play(body)


def test_control_the_same_client_costs_one_that_should_have_been_back_long_ago() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf())
        owner.curve.observe(1, 0.01)
        run = owner.dispatch()
        await asyncio.sleep(0.5)
        owner.crew.stop(run)
        await asyncio.sleep(4.5)
        assert ("lost", 2.5) in owner.log

    play(body)


def test_others_go_on_while_one_hangs() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine(), deaf())
        owner.dispatch()
        for _ in range(5):
            owner.dispatch()
            await asyncio.sleep(1)
        assert len(owner.back) == 5
        await asyncio.sleep(20)
        assert owner.crew.size == 1
        assert ("changed 0", 12.0) not in owner.log

    play(body)


def test_the_third_stuck_engine_within_a_minute_is_the_end() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=deaf)
        for _ in range(3):
            owner.dispatch()
            await asyncio.sleep(13)
        assert [what for what, _ in owner.log if "keep hanging" in what] != []
        assert owner.crew.size == 0
        assert owner.crew.replacing == 0

    play(body)


def test_control_three_in_three_minutes_are_all_replaced() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=deaf)
        for _ in range(5):
            owner.dispatch()
            await asyncio.sleep(45)
        assert [what for what, _ in owner.log if "keep hanging" in what] == []
        assert owner.crew.size == 1

    play(body)


def test_a_replacement_that_fails_is_tried_again_and_then_it_is_the_end() -> None:
    def replace() -> FakeEngine:
        raise BadModel("the files changed")

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=replace)
        owner.dispatch()
        await asyncio.sleep(12.02)
        assert owner.crew.replacing == 1
        await asyncio.sleep(20)
        assert owner.log[-2][0] == "a hanging engine could not be replaced: the files changed"
        assert owner.log[-1][0] == "changed 0"
        assert owner.crew.replacing == 0

    play(body)


def test_a_replacement_that_fails_once_succeeds_later() -> None:
    made: list[FakeEngine] = []

    def replace() -> FakeEngine:
        made.append(FakeEngine())
        if len(made) == 1:
            raise BadModel("not yet")
        return made[-1]

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=replace)
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.crew.engines == [made[1]]

    play(body)


def test_without_a_replacement_the_crew_just_shrinks() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf())
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.log == [("lost", 12.0), ("changed 0", 12.0)]

    play(body)


def test_end_lets_idle_engines_go_at_once() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine(), FakeEngine())
        await owner.crew.end()
        assert loop.time() == 1000.0
        assert owner.crew.size == 0
        assert all(line.ended for line in owner.threads.lines)

    play(body)


def test_end_stops_what_runs_and_waits_no_longer_than_the_grace() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine([Act(fault=Fault.HANGS)]), deaf())
        owner.dispatch()
        owner.dispatch()
        await owner.crew.end()
        assert loop.time() == pytest.approx(1002.0)
        assert all(line.ended for line in owner.threads.lines)

    play(body)


def test_nobody_joins_a_crew_that_is_ending() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine(), deaf(), replace=FakeEngine)
        owner.threads.replace_s = 5.0
        owner.crew.stop(owner.dispatch())
        owner.dispatch()
        await asyncio.sleep(3)
        assert owner.crew.replacing == 1
        await owner.crew.end()
        await asyncio.sleep(10)
        assert owner.crew.size == 0

    play(body)


def test_from_stop_replacing_on_a_lost_engine_is_not_replaced() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=FakeEngine)
        owner.crew.stop_replacing()
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.crew.size == 0

    play(body)
