"""The batcher in trouble: bad rows, bad engines, engines that hang, and a batcher that breaks (B3, B4, R1, R2)."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service.core.contract import Arrays
from service.core.errors import BadModel, Expired, NotReady, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualLoop, RecordingObserver
from tests.unit.batching.bench import Bench, outcome, play, row


@pytest.mark.parametrize("where", range(8))
def test_one_bad_row_among_eight_seven_right_answers_and_one_typed_error(where: int) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        tasks = [bench.bad() if n == where else bench.submit(n + 1) for n in range(8)]
        await asyncio.wait(tasks)
        for n, task in enumerate(tasks):
            if n == where:
                assert isinstance(task.exception(), RunFailed)
                assert str(task.exception()) == "the model failed on this request"
            else:
                assert row(task) == [2 * (n + 1)]
        assert len(bench.batches) == 7, "eight, four and four, two and two, one and one"
        assert await outcome(bench.submit(99)) == [198]

    play(story)


@pytest.mark.parametrize("bad", [0, 2, 5, 8])
def test_any_number_of_bad_rows_costs_less_than_two_runs_each(bad: int) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        tasks = [bench.bad() if n < bad else bench.submit(n + 1) for n in range(8)]
        await asyncio.wait(tasks)
        assert sum(task.exception() is not None for task in tasks) == bad
        assert len(bench.batches) <= 15

    play(story)


def test_who_leaves_between_the_halves_harms_nobody() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 9))
        tasks = [bench.bad(), bench.submit(1), bench.submit(2), bench.submit(3)]
        await asyncio.sleep(1.5)
        tasks[2].cancel()
        await asyncio.wait(tasks)
        assert row(tasks[1]) == [2]
        assert row(tasks[3]) == [6]
        assert [2.0, 3.0] not in bench.batches

    play(story)


def test_a_bad_piece_fails_its_whole_request_and_the_rest_of_it_is_not_run() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(0.1)] * 9), max_rows=2)
        mixed = bench.submit(-1, 8)  # rows -1 .. 6
        other = bench.submit(50, width=3)
        assert isinstance(await outcome(mixed), RunFailed)
        assert await outcome(other) == [100]
        assert len(bench.batches) == 2

    play(story)


class Wide(FakeEngine):
    """Answers each row of a batch of four with more than any machine has, though it takes nothing itself."""

    def compute(self, arrays: Arrays, fault: Fault) -> Any:
        outputs = super().compute(arrays, fault)
        rows = len(arrays["x"])
        return {"y": np.broadcast_to(np.zeros(1, np.int8), (4, 1 << 44))} if rows == 4 else outputs


def test_an_answer_in_parts_that_no_machine_holds_fails_alone() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, Wide(), max_rows=4)
        for _ in range(3):  # of which three would be the end, were each a crash
            large, other = bench.submit(1, 8), bench.submit(50)
            await asyncio.wait([large, other])
            assert isinstance(large.exception(), RunFailed)
            assert row(other) == [100]
        assert bench.batcher.healthy
        assert not bench.fatal

    play(story)


def test_who_keeps_sending_bad_rows_is_run_alone_for_a_while() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        for _ in range(3):
            await outcome(bench.bad("mallory"))
        before = len(bench.batches)
        tasks = [bench.bad("mallory"), *(bench.submit(n, origin="alice") for n in range(1, 8))]
        await asyncio.wait(tasks)
        assert sorted(bench.batches[before:]) == [[-7], [1, 2, 3, 4, 5, 6, 7]]
        await asyncio.sleep(200)
        before = len(bench.batches)
        await asyncio.wait([bench.submit(1, origin="mallory"), bench.submit(2, origin="alice")])
        assert bench.batches[before:] == [[1, 2]]

    play(story)


@pytest.mark.parametrize("fault", [Fault.RAISES, Fault.EXITS, Fault.WRONG_LENGTH, Fault.NOT_ARRAYS])
def test_an_engine_that_fails_once_fails_nobody(fault: Fault) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(fault=fault)]))
        tasks = [bench.submit(1), bench.submit(2)]
        assert [await outcome(task) for task in tasks] == [[2], [4]]
        assert bench.batcher.healthy

    play(story)


@pytest.mark.parametrize("fault", [Fault.RAISES, Fault.EXITS, Fault.WRONG_LENGTH, Fault.NOT_ARRAYS])
def test_an_engine_that_always_fails_gives_typed_errors_and_the_loop_lives(fault: Fault) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(fault=fault)] * 3))
        tasks = [bench.submit(1), bench.submit(2)]
        assert all([isinstance(await outcome(task), RunFailed) for task in tasks])
        assert await outcome(bench.submit(3)) == [6]

    play(story)


def test_a_hang_costs_nobody_more_than_their_deadline() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(fault=Fault.DEAF)]), replace=FakeEngine)
        tasks = [bench.submit(1, within_s=0.5), bench.submit(2, within_s=1.0)]
        assert isinstance(await outcome(tasks[0]), Expired)
        assert bench.now_s() == 0.5
        assert isinstance(await outcome(tasks[1]), Expired)
        assert bench.now_s() == 1.0
        assert await outcome(bench.submit(3, within_s=30.0)) == [6]
        assert bench.now_s() == pytest.approx(12.05), "the run's timeout, the grace, and the replacement"

    play(story)


def test_a_hang_that_obeys_is_stopped_at_the_run_timeout() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(fault=Fault.HANGS)]))
        assert isinstance(await outcome(bench.submit(1)), Stuck)
        assert bench.now_s() == 10.0
        assert await outcome(bench.submit(2)) == [4]
        assert bench.fatal == []
        assert len(bench.observer.failures) == 1

    play(story)


def test_a_hang_that_does_not_obey_fails_its_own_and_others_wait_for_the_new_engine() -> None:
    async def story(loop: ManualLoop) -> None:
        fresh = FakeEngine()
        bench = Bench(loop, FakeEngine([Act(fault=Fault.DEAF)]), replace=lambda: fresh)
        stuck = bench.submit(1)
        await asyncio.sleep(0.1)
        waiting = bench.submit(2)
        error = await outcome(stuck)
        assert isinstance(error, Stuck)
        assert str(error) == "the run took longer than 10 s and could not be stopped"
        assert bench.now_s() == 12.0
        assert not bench.batcher.healthy
        assert await outcome(waiting) == [4]
        assert bench.now_s() == 12.05
        assert bench.batcher.healthy
        assert bench.batcher.crew.engines == [fresh]

    play(story)


def test_other_engines_go_on() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine(), FakeEngine([Act(fault=Fault.DEAF)]))
        stuck = bench.submit(1)
        for n in range(2, 20):
            assert await outcome(bench.submit(n)) == [2 * n]
            await asyncio.sleep(1)
            assert bench.batcher.healthy
        assert isinstance(stuck.exception(), Stuck)

    play(story)


def test_the_third_hang_within_a_minute_is_the_end() -> None:
    async def story(loop: ManualLoop) -> None:
        def deaf() -> FakeEngine:
            return FakeEngine([Act(fault=Fault.DEAF)])

        bench = Bench(loop, deaf(), replace=deaf)
        for n in range(3):
            assert isinstance(await outcome(bench.submit(n)), Stuck)
        assert len(bench.fatal) == 1
        assert not bench.batcher.healthy
        assert isinstance(await outcome(bench.submit(9)), NotReady)
        await bench.batcher.close(drain=True)

    play(story)


def test_without_a_replacement_the_last_hang_fails_everyone_who_waits() -> None:
    async def story(loop: ManualLoop) -> None:
        def replace() -> FakeEngine:
            raise BadModel("gone")

        bench = Bench(loop, FakeEngine([Act(fault=Fault.DEAF)]), replace=replace, max_rows=1)
        tasks = [bench.submit(1), bench.submit(2)]
        assert all([isinstance(await outcome(task), Stuck) for task in tasks])
        assert bench.fatal == ["a hanging engine could not be replaced: gone"]

    play(story)


class Breaks:
    """A fault hook that raises at the pumps it is armed for."""

    def __init__(self) -> None:
        self.armed = 0

    def __call__(self) -> None:
        if self.armed:
            self.armed -= 1
            raise ZeroDivisionError("broken")


def test_a_broken_batcher_fails_everyone_at_once_and_is_back_within_two_seconds() -> None:
    async def story(loop: ManualLoop) -> None:
        breaks = Breaks()
        bench = Bench(loop, FakeEngine([Act(1.0)]), on_pump=breaks, max_rows=1)
        running, queued = bench.submit(1), bench.submit(2)
        await asyncio.sleep(0.5)
        breaks.armed = 1
        third = bench.submit(3)
        for task in (running, queued, third):
            assert isinstance(await outcome(task), NotReady)
        assert bench.now_s() == 0.5
        assert not bench.batcher.healthy
        assert isinstance(await outcome(bench.submit(4)), NotReady)
        assert [type(error) for error in bench.observer.crashes] == [ZeroDivisionError]
        await asyncio.sleep(0.3)
        assert bench.batcher.healthy
        assert await outcome(bench.submit(5)) == [10]
        assert bench.fatal == []

    play(story)


def test_the_third_crash_within_a_minute_is_the_end_and_closing_still_works() -> None:
    async def story(loop: ManualLoop) -> None:
        breaks = Breaks()
        bench = Bench(loop, on_pump=breaks)
        for _ in range(3):
            breaks.armed = 1
            assert isinstance(await outcome(bench.submit(1)), NotReady)
            await asyncio.sleep(1)
        assert bench.fatal == ["the batcher keeps failing: the third crash within a minute"]
        assert not bench.batcher.healthy
        await bench.batcher.close(drain=True)

    play(story)


def test_a_crash_while_draining_still_closes() -> None:
    async def story(loop: ManualLoop) -> None:
        breaks = Breaks()
        bench = Bench(loop, FakeEngine([Act(1.0)] * 9), on_pump=breaks, max_rows=1)
        tasks = [bench.submit(n) for n in range(3)]
        await asyncio.sleep(0.5)
        breaks.armed = 1
        await bench.batcher.close(drain=True)
        assert all([isinstance(await outcome(task), NotReady) for task in tasks])

    play(story)


def test_an_observer_that_raises_is_a_crash_like_any_other() -> None:
    class Bad(RecordingObserver):
        def batch_ran(self, report: Any) -> None:
            raise KeyError("metrics")

        def crashed(self, error: BaseException) -> None:
            super().crashed(error)
            raise KeyError("metrics too")

    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, observer=Bad())
        assert isinstance(await outcome(bench.submit(1)), NotReady)
        await asyncio.sleep(0.5)
        assert bench.batcher.healthy
        assert [type(error) for error in bench.observer.crashes] == [KeyError]

    play(story)


def test_an_engine_that_hangs_during_a_crash_is_still_watched() -> None:
    async def story(loop: ManualLoop) -> None:
        breaks = Breaks()
        bench = Bench(loop, FakeEngine([Act(fault=Fault.DEAF)]), replace=FakeEngine, on_pump=breaks)
        stuck = bench.submit(1)
        await asyncio.sleep(0.5)
        breaks.armed = 1
        bench.submit(2)
        assert isinstance(await outcome(stuck), NotReady)
        await asyncio.sleep(0.5)
        assert await outcome(bench.submit(3)) == [6]
        assert bench.now_s() == pytest.approx(12.05)

    play(story)
