"""Who is idle and who is busy; engines that overrun are stopped, and those that ignore it are given up (B4)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from service.batching.contract import CloseReason
from service.batching.engine_thread import Returned
from service.batching.run import Run
from service.core.errors import Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualLine, ManualLoop, ManualThreads
from tests.fakes import run_manually as play
from tests.unit.batching.crew_owner import Owner, deaf, piece


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
        owner.curve.observe(1, 0.01)  # of short rows; this one's are long, in an operator that cannot be stopped
        run = owner.dispatch()
        await asyncio.sleep(0.5)
        owner.crew.stop(run)
        await asyncio.sleep(4.5)
        owner.threads.lines[0]._finish()
        assert owner.crew.size == 1
        assert owner.log == [("returned", 5.0)]

    play(body)


def test_control_the_same_client_costs_one_that_takes_longer_than_any_run_may() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf())
        owner.curve.observe(1, 0.01)
        run = owner.dispatch()
        await asyncio.sleep(0.5)
        owner.crew.stop(run)
        await asyncio.sleep(20)
        assert owner.log[0] == ("lost", 12.0)

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


def test_end_waits_no_longer_for_one_that_is_given_up_meanwhile() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine(), deaf())
        owner.dispatch()
        await asyncio.sleep(11.5)
        await owner.crew.end()
        assert loop.time() == pytest.approx(1012.0)

    play(body)


def test_engines_join_all_or_none() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine())
        owner.threads.line = no_second_line(owner.threads)  # type: ignore[method-assign]
        with pytest.raises(RuntimeError):
            owner.crew.join([FakeEngine(), FakeEngine()])
        assert (owner.crew.size, owner.crew.idle) == (1, 1)
        assert [line.ended for line in owner.threads.lines] == [False, True], "its thread would stay for ever"

    play(body)


def no_second_line(threads: ManualThreads) -> Callable[..., ManualLine]:
    """From now on there is one thread more, and no other."""
    given = threads.line

    def line(engine: FakeEngine, returned: Returned) -> ManualLine:
        made = given(engine, returned)
        threads.refused = 1
        return made

    return line


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
