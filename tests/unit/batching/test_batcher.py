"""The batcher, story by story: forming, timing, leaving, expiring, closing."""

from __future__ import annotations

import asyncio
import gc
import weakref

import numpy as np
import pytest

from service.batching.contract import CloseReason, DropReason
from service.core.deadline import Deadline
from service.core.errors import Expired, NotReady, Rejected
from tests.fakes import Act, FakeEngine, ManualLoop
from tests.unit.batching.bench import Bench, outcome, play, row


def test_a_lone_request_is_answered_without_waiting() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        assert await outcome(bench.submit(1, 3)) == [2, 4, 6]
        assert bench.now_s() == 0.0
        assert bench.batches == [[1, 2, 3]]

    play(story)


def test_requests_of_one_loop_iteration_form_one_batch() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        tasks = [bench.submit(n) for n in range(5)]
        assert [await outcome(task) for task in tasks] == [[2 * n] for n in range(5)]
        assert bench.batches == [[0, 1, 2, 3, 4]]
        (report,) = bench.observer.reports
        assert (report.rows, report.requests, report.close_reason) == (5, 5, CloseReason.IDLE_RUNNER)

    play(story)


def test_while_a_batch_runs_the_next_one_forms() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)]))
        first = bench.submit(1)
        await asyncio.sleep(0.1)
        others = []
        for n in range(2, 6):
            others.append(bench.submit(n))
            await asyncio.sleep(0.1)
        await asyncio.wait([first, *others])
        assert bench.batches == [[1], [2, 3, 4, 5]]
        assert bench.now_s() == 1.0

    play(story)


def test_every_engine_takes_a_batch() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)]), FakeEngine([Act(1.0)]))
        tasks = [bench.submit(n) for n in range(4)]
        await asyncio.wait(tasks)
        assert bench.now_s() == 1.0
        assert sorted(bench.batches) == [[0, 1], [2, 3]]

    play(story)


def test_an_oversize_request_is_split_and_answered_whole() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_rows=4)
        small, large = bench.submit(100), bench.submit(1, 10)
        assert await outcome(large) == [2 * n for n in range(1, 11)]
        assert row(small) == [200]
        assert max(len(batch) for batch in bench.batches) <= 4

    play(story)


@pytest.mark.parametrize("mixes", [True, False])
def test_what_must_not_be_mixed_runs_alone_and_whole(mixes: bool) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_rows=4, mixes=mixes)
        tasks = [bench.submit(10 * n, None if mixes else 6) for n in range(3)]
        await asyncio.wait(tasks)
        assert sorted(len(batch) for batch in bench.batches) == ([1] * 3 if mixes else [6] * 3)
        assert [report.requests for report in bench.observer.reports] == [1] * 3

    play(story)


def test_no_rows_at_all_run_alone() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        empty, other = bench.submit(1, 0), bench.submit(5)
        assert await outcome(empty) == []
        assert await outcome(other) == [10]
        assert sorted(bench.batches) == [[], [5]]

    play(story)


def test_the_phases_add_up() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(0.3), Act(0.5)]))
        bench.submit(1)
        await asyncio.sleep(0.1)
        waited = bench.submit(2)
        await asyncio.wait([waited])
        timing = waited.result().timing
        assert [round(ns / 1e9, 6) for ns in timing] == [0.2, 0.0, 0.5, 0.0]
        assert waited.result().batch_rows == 1

    play(story)


def test_a_delay_waits_for_more_and_no_longer() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_rows=3, max_delay_s=0.5)
        first = bench.submit(1)
        await asyncio.sleep(0.2)
        second = bench.submit(2)
        await asyncio.wait([first, second])
        assert bench.now_s() == 0.5
        full = [bench.submit(n) for n in range(3)]
        await asyncio.wait(full)
        assert bench.now_s() == 0.5
        assert [report.close_reason for report in bench.observer.reports] == [CloseReason.DELAY, CloseReason.FULL]

    play(story)


def test_a_deadline_in_the_queue_is_kept_to_the_instant() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)]))
        first = bench.submit(1)
        await asyncio.sleep(0.1)
        late = bench.submit(2, within_s=0.25)
        assert isinstance(await outcome(late), Expired)
        assert bench.now_s() == pytest.approx(0.35)
        assert await outcome(first) == [2]
        assert bench.batches == [[1]]
        assert bench.observer.drops == [DropReason.EXPIRED]

    play(story)


def test_a_deadline_during_the_run_is_kept_to_the_instant() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)]))
        late, mate = bench.submit(1, within_s=0.25), bench.submit(2)
        assert isinstance(await outcome(late), Expired)
        assert bench.now_s() == pytest.approx(0.25)
        assert await outcome(mate) == [4]
        assert bench.now_s() == 1.0

    play(story)


def test_the_servers_own_question_is_not_bound_by_the_default_timeout() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(5.0)]), default_timeout_s=0.5)
        assert await outcome(bench.submit(1, quiet=True)) == [2]
        assert bench.now_s() == 5.0

    play(story)


def test_the_default_timeout_bounds_the_wait_and_not_the_run() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(5.0)]), default_timeout_s=0.5, max_rows=1)
        runs, waits = bench.submit(1), bench.submit(2, within_s=20.0)
        error = await outcome(waits)
        assert isinstance(error, Rejected) and "still waited to be run" in str(error)
        assert (bench.now_s(), bench.observer.drops) == (0.5, [DropReason.EXPIRED])
        assert await outcome(runs) == [2]
        assert (bench.now_s(), bench.batches) == (5.0, [[1]])

    play(story)


def test_a_deadline_that_has_passed_or_cannot_be_met_is_refused_before_it_waits() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 3))
        bench.curve.observe(1, 1.0)
        assert isinstance(await outcome(bench.submit(1, within_s=0.0)), Expired)
        running = bench.submit(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = await outcome(bench.submit(2, within_s=1.5))
        assert isinstance(refused, Rejected)
        assert bench.now_s() == 0.0
        assert await outcome(bench.submit(3, within_s=2.5)) == [6]
        assert row(running) == [2]

    play(story)


def test_a_full_queue_refuses_at_once_and_the_queue_empties() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 9), max_queue=2, max_rows=1)
        running = bench.submit(1)
        await asyncio.sleep(0.1)
        waiting = [bench.submit(n) for n in (2, 3)]
        refused = await outcome(bench.submit(4))
        assert isinstance(refused, Rejected)
        assert bench.now_s() == pytest.approx(0.1)
        assert [await outcome(task) for task in (running, *waiting)] == [[2], [4], [6]]

    play(story)


def test_the_snapshot() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 9), FakeEngine(), max_rows=2)
        for n in range(4):
            bench.submit(n, 2)
        await asyncio.sleep(0)
        assert bench.batcher.snapshot()[:3] == (4, 4, 8)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        snapshot = bench.batcher.snapshot()
        assert (snapshot.engines, snapshot.busy_engines, snapshot.healthy) == (2, 2, True)
        assert bench.batcher.pending == 4
        assert bench.batcher.crew.engines == list(bench.engines)
        await bench.batcher.close(drain=True)

    play(story)


def test_before_the_start_nobody_is_taken() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, start=False)
        assert not bench.batcher.healthy
        assert isinstance(await outcome(bench.submit(1)), NotReady)
        bench.batcher.start()
        assert await outcome(bench.submit(1)) == [2]

    play(story)


def test_answered_or_failed_nothing_of_a_request_stays_behind() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, engine := FakeEngine(), max_rows=4)
        alive = []
        for first in (1, 2, -7):
            x = np.full((3, 2), float(first))
            alive.append(weakref.ref(x))
            task = asyncio.ensure_future(bench.batcher.submit({"x": x}, 3, Deadline.never()))
            await asyncio.wait([task])
            error = task.exception()
            assert (error is not None) == (first < 0)
            engine.batches.clear()
            bench.observer.failures.clear()
            loop.futures.clear()
            del x, task, error
        await asyncio.sleep(0.01)
        assert [ref() is None for ref in alive] == [True] * 3

    gc.collect()
    gc.disable()
    try:
        play(story)
    finally:
        gc.enable()
