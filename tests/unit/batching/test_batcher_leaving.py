"""Clients that leave: before, in the instant of, and during the run. Nobody else is harmed, nothing is run for them."""

from __future__ import annotations

import asyncio

from service.batching.contract import DropReason
from tests.fakes import Act, FakeEngine, ManualLoop
from tests.unit.batching.bench import Bench, outcome, play


def test_who_leaves_before_the_run_is_not_run() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)]))
        first = bench.submit(1)
        await asyncio.sleep(0.1)
        leaver, stayer = bench.submit(2), bench.submit(3)
        await asyncio.sleep(0.1)
        leaver.cancel()
        await asyncio.wait([first, leaver, stayer])
        assert leaver.cancelled()
        assert bench.batches == [[1], [3]]
        assert bench.observer.drops == [DropReason.ABANDONED]
        assert bench.batcher.pending == 0

    play(story)


def test_who_leaves_in_the_instant_of_the_run_is_not_run_either() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop)
        leaver, stayer = bench.submit(1), bench.submit(2)
        await asyncio.sleep(0)
        leaver.cancel()
        assert await outcome(stayer) == [4]
        assert bench.batches == [[2]]

    play(story)


def test_who_leaves_during_the_run_harms_nobody() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, engine := FakeEngine([Act(1.0)]))
        leaver, stayer = bench.submit(1), bench.submit(2)
        await asyncio.sleep(0.5)
        leaver.cancel()
        assert await outcome(stayer) == [4]
        assert engine.stops == 0
        assert bench.observer.drops == []

    play(story)


def test_a_run_that_everyone_has_left_is_stopped() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(5.0)]))
        leavers = [bench.submit(1), bench.submit(2)]
        await asyncio.sleep(0.5)
        waiting = bench.submit(3)
        for leaver in leavers:
            leaver.cancel()
        assert await outcome(waiting) == [6]
        assert bench.now_s() == 0.5
        assert bench.observer.failures == []

    play(story)
