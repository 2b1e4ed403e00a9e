"""Real threads, real time: many clients, engines that fail, clients that leave, for a second or two."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import numpy as np

from service.batching.batcher import Batcher
from service.batching.contract import BatchConfig, WaitPolicy
from service.batching.curve import CostCurve
from service.batching.seams import BatcherSeams
from service.core.clock import MonotonicClock
from service.core.contract import Arrays
from service.core.deadline import Deadline
from service.core.errors import Expired, Rejected, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, RecordingObserver, ids

CLIENTS = 40
REQUESTS = 60


def batcher(
    *engines: FakeEngine, grace_s: float = 0.2, run_timeout_s: float = 60.0, max_queue: int = 1024, **knobs: int
) -> Batcher:
    made = Batcher(
        engines,
        BatchConfig(waiting=WaitPolicy(max_queue), **knobs),
        CostCurve(16),
        clock=MonotonicClock(),
        observer=RecordingObserver(),
        replace=lambda _lost: FakeEngine(),
        on_fatal=print,
        run_timeout_s=run_timeout_s,
        seams=BatcherSeams(stop_grace_s=grace_s),
    )
    made.start()
    return made


def acts(dice: random.Random) -> list[Act]:
    faults = [Fault.NONE] * 60 + [Fault.RAISES, Fault.EXITS, Fault.WRONG_LENGTH]
    return [Act(dice.choice([0.0, 0.0, 0.0005, 0.002]), dice.choice(faults)) for _ in range(5000)]


async def test_everyone_gets_their_own_rows_or_a_typed_error() -> None:
    dice = random.Random(7)
    busy = batcher(FakeEngine(acts(dice)), FakeEngine(acts(dice)), max_rows=16, max_queue=30)
    clock = MonotonicClock()
    ends: Counter[str] = Counter()

    async def client(number: int) -> None:
        for turn in range(REQUESTS):
            first, rows = 1 + (number * REQUESTS + turn) * 40, dice.choice([1, 1, 1, 2, 5, 33])
            end = "Rejected"
            while end == "Rejected":
                end = await one(ids(first, rows, 1 + number % 2), rows)
                ends[end] += 1

    async def one(inputs: Arrays, rows: int) -> str:
        deadline = Deadline.after(clock.now_s(), dice.choice([0.002, 60.0, 60.0]))
        task = asyncio.ensure_future(busy.submit(inputs, rows, deadline))
        if dice.random() < 0.1:
            await asyncio.sleep(dice.choice([0.0, dice.random() * 0.003]))
            task.cancel()
        try:
            answer = await task
        except asyncio.CancelledError:
            return "left"
        except (Expired, Rejected, RunFailed) as error:
            await asyncio.sleep(0.002)
            return type(error).__name__
        assert np.array_equal(answer.outputs["y"], inputs["x"] * 2)
        return "answered"

    await asyncio.wait_for(asyncio.gather(*(client(number) for number in range(CLIENTS))), 100)
    assert ends.total() - ends["Rejected"] == CLIENTS * REQUESTS
    assert ends["answered"] > CLIENTS * REQUESTS / 5, ends
    assert ends["left"] > 0
    assert busy.snapshot()[:3] == (0, 0, 0)
    assert busy.healthy
    await busy.close(drain=True)


async def turns_until(done: asyncio.Future[Any]) -> int:
    """How many turns of at least 10 ms the loop makes meanwhile: a machine that stalls makes them longer, not more."""
    turns = 0
    while not done.done():
        await asyncio.sleep(0.01)
        turns += 1
    return turns


async def test_a_deadline_holds_while_every_engine_hangs() -> None:
    clock = MonotonicClock()
    deaf = FakeEngine([Act(fault=Fault.DEAF)])
    stuck = batcher(deaf, grace_s=0.2, run_timeout_s=2.0)
    waits = [stuck.submit(ids(n, 1), 1, Deadline.after(clock.now_s(), 0.1)) for n in range(8)]
    ends = asyncio.gather(*waits, return_exceptions=True)
    assert await turns_until(ends) < 20, "the deadline and a tenth of a second"
    assert [type(end) for end in await ends] == [Expired] * 8
    answer = await stuck.submit(ids(5, 1), 1, Deadline.after(clock.now_s(), 60))
    assert answer.outputs["y"][0, 0] == 10
    assert deaf not in stuck.crew.engines
    deaf.released.set()
    await stuck.close(drain=True)


async def test_a_run_that_obeys_is_stopped_in_time() -> None:
    clock = MonotonicClock()
    obeys = FakeEngine([Act(fault=Fault.HANGS)])
    slow = batcher(obeys, run_timeout_s=0.1, grace_s=50.0)
    began_s = clock.now_s()
    end = await asyncio.gather(slow.submit(ids(1, 1), 1, Deadline.never()), return_exceptions=True)
    assert isinstance(end[0], Stuck)
    assert clock.now_s() - began_s < 30.0, "it was left behind after the grace"
    assert slow.crew.engines == [obeys]
    await slow.close(drain=True)


async def test_closing_ends_the_threads() -> None:
    def engine_threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "engine"}

    before = engine_threads()
    idle = batcher(FakeEngine(), FakeEngine(), FakeEngine())
    started = engine_threads() - before
    assert len(started) == 3
    await idle.close(drain=True)
    for thread in started:
        await asyncio.to_thread(thread.join, 30)
    assert not any(thread.is_alive() for thread in started)
