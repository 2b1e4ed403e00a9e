"""Real threads, real time: many clients, engines that fail, clients that leave, for a second or two."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter

import numpy as np

from service.batching.batcher import Batcher
from service.batching.contract import BatchConfig
from service.batching.curve import CostCurve
from service.batching.seams import BatcherSeams
from service.core.clock import MonotonicClock
from service.core.deadline import Deadline
from service.core.errors import Expired, Rejected, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, RecordingObserver, ids

CLIENTS = 40
REQUESTS = 60


def batcher(*engines: FakeEngine, grace_s: float = 0.2, run_timeout_s: float = 5.0, **knobs: int) -> Batcher:
    made = Batcher(
        engines,
        BatchConfig(**knobs),
        CostCurve(16),
        clock=MonotonicClock(),
        observer=RecordingObserver(),
        replace=FakeEngine,
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
            deadline = Deadline.after(clock.now_s(), dice.choice([0.002, 1.0, 1.0]))
            task = asyncio.ensure_future(busy.submit(ids(first, rows, 1 + number % 2), rows, deadline))
            if dice.random() < 0.1:
                await asyncio.sleep(dice.random() * 0.003)
                task.cancel()
            try:
                answer = await task
            except asyncio.CancelledError:
                ends["left"] += 1
            except (Expired, Rejected, RunFailed) as error:
                ends[type(error).__name__] += 1
                await asyncio.sleep(0.002)
            else:
                assert np.array_equal(answer.outputs["y"], ids(first, rows, 1 + number % 2)["x"] * 2)
                ends["answered"] += 1

    await asyncio.wait_for(asyncio.gather(*(client(number) for number in range(CLIENTS))), 60)
    assert ends.total() == CLIENTS * REQUESTS
    assert ends["answered"] > CLIENTS * REQUESTS / 5, ends
    assert ends["left"] > 0
    assert busy.snapshot()[:3] == (0, 0, 0)
    assert busy.healthy
    await busy.close(drain=True)


async def test_a_deadline_holds_while_every_engine_hangs() -> None:
    clock = MonotonicClock()
    deaf = FakeEngine([Act(fault=Fault.DEAF)])
    stuck = batcher(deaf, grace_s=0.2)
    waits = [stuck.submit(ids(n, 1), 1, Deadline.after(clock.now_s(), 0.1)) for n in range(8)]
    began_s = clock.now_s()
    ends = await asyncio.gather(*waits, return_exceptions=True)
    assert clock.now_s() - began_s < 0.2, "the deadline and a tenth of a second"
    assert [type(end) for end in ends] == [Expired] * 8
    answer = await stuck.submit(ids(5, 1), 1, Deadline.after(clock.now_s(), 30))
    assert answer.outputs["y"][0, 0] == 10
    assert deaf not in stuck.engines
    deaf.released.set()
    await stuck.close(drain=True)


async def test_a_run_that_obeys_is_stopped_in_time() -> None:
    clock = MonotonicClock()
    slow = batcher(FakeEngine([Act(fault=Fault.HANGS)]), run_timeout_s=0.1, grace_s=2.0)
    began_s = clock.now_s()
    end = await asyncio.gather(slow.submit(ids(1, 1), 1, Deadline.never()), return_exceptions=True)
    assert isinstance(end[0], Stuck)
    assert clock.now_s() - began_s < 1.0
    await slow.close(drain=True)


async def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    idle = batcher(FakeEngine(), FakeEngine(), FakeEngine())
    assert len(set(threading.enumerate()) - before) == 3
    await idle.close(drain=True)
    for _ in range(1000):
        if not set(threading.enumerate()) - before:
            break
        await asyncio.sleep(0.005)
    assert not set(threading.enumerate()) - before
