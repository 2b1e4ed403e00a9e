"""Closing a batcher: gently or at once, twice, and around an engine that hangs. It never hangs itself."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from service.batching.contract import CloseReason
from service.core.errors import Draining, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualLoop
from tests.unit.batching.bench import Bench, outcome, play, row


def test_close_runs_what_is_queued_and_takes_nothing_new() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 9), max_rows=1)
        tasks = [bench.submit(n) for n in range(3)]
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(bench.batcher.close(drain=True))
        await asyncio.sleep(0.1)
        assert isinstance(await outcome(bench.submit(9)), Draining)
        await closing
        assert [row(task) for task in tasks] == [[0], [2], [4]]
        assert bench.now_s() == 3.0
        assert all(line.ended for line in bench.threads.lines)

    play(story)


def test_close_without_draining_fails_everyone_at_once() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(5.0)] * 9), max_rows=1)
        tasks = [bench.submit(n) for n in range(3)]
        await asyncio.sleep(0.1)
        await bench.batcher.close(drain=False)
        assert bench.now_s() == pytest.approx(0.1)
        assert all([isinstance(await outcome(task), Draining) for task in tasks])

    play(story)


def test_a_held_batch_goes_when_the_batcher_closes() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_delay_s=60.0)
        task = bench.submit(1)
        await asyncio.sleep(0.1)
        await bench.batcher.close(drain=True)
        assert row(task) == [2]
        assert bench.now_s() == pytest.approx(0.1)
        assert [report.close_reason for report in bench.observer.reports] == [CloseReason.DRAIN]

    play(story)


def test_closing_twice_and_harder_the_second_time() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(5.0)] * 9), max_rows=1)
        tasks = [bench.submit(n) for n in range(3)]
        await asyncio.sleep(0.1)
        gently = asyncio.ensure_future(bench.batcher.close(drain=True))
        await asyncio.sleep(0.1)
        await bench.batcher.close(drain=False)
        await gently
        assert bench.now_s() < 1.0
        assert all([isinstance(await outcome(task), Draining) for task in tasks])

    play(story)


@pytest.mark.parametrize("drain", [True, False])
def test_close_never_waits_for_an_engine_that_hangs_for_ever(drain: bool) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(fault=Fault.DEAF)]), replace=FakeEngine, max_rows=1)
        tasks = [bench.submit(1), bench.submit(2)]
        await asyncio.sleep(0.1)
        await bench.batcher.close(drain)
        assert bench.now_s() == pytest.approx(12.0 if drain else 2.1)
        for task in tasks:
            assert isinstance(await outcome(task), Stuck if drain else Draining)

    play(story)


def test_no_timer_holds_a_closed_batcher_until_deadlines_of_an_hour_are_over() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        assert await outcome(bench.submit(1, within_s=3600.0)) == [2]
        await bench.batcher.close(drain=True)
        closed = weakref.ref(bench.batcher)
        del bench
        loop.futures.clear()
        gc.collect()
        assert closed() is None

    play(story)


def test_close_of_an_idle_batcher_is_immediate() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        await bench.batcher.close(drain=True)
        await bench.batcher.close(drain=True)
        assert bench.now_s() == 0.0
        assert not bench.batcher.healthy

    play(story)
