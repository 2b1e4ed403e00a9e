"""What one request more costs a batcher behind whose engine others wait already, in one process, without sockets."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from service.batching.batcher import Batcher
from service.batching.contract import Answer, BatchConfig, WaitPolicy
from service.batching.curve import CostCurve
from service.core.clock import MonotonicClock
from service.core.contract import Arrays
from service.core.deadline import Deadline
from service.core.errors import RetortError
from tests.bench.scale.samples import Line
from tests.fakes import RecordingObserver

WAITING = (0, 100, 1000, 10_000)
MANY = 200  # of which one's cost is the share
ROW = {"x": np.ones((1, 4), np.float32)}


class Gate:
    """An engine that runs nothing until it is let go on."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def run(self, arrays: Arrays) -> Any:
        """Waits, then answers what it is asked."""
        self.open.wait()
        return {"y": arrays["x"]}

    def stop(self) -> None:
        """Nobody asks it to."""


class Crowd:
    """A batcher whose engine is held by one request, with others behind it.

    Args:
        waiting: how many.
        places: how many more there is room for.
    """

    def __init__(self, waiting: int, places: int = 10 * MANY) -> None:
        self._gate = Gate()
        self._clock = MonotonicClock()
        policy = WaitPolicy(max_queue=waiting + places, max_wait_s=math.inf)
        curve = CostCurve(32)
        curve.observe(32, 1e-7)  # so that whoever has little time is let in to wait
        self._batcher = Batcher(
            [self._gate],
            BatchConfig(max_rows=32, waiting=policy),
            curve,
            clock=self._clock,
            observer=RecordingObserver(),
            replace=None,
            on_fatal=print,
            run_timeout_s=600.0,
        )
        self._waiting = waiting
        self._tasks: list[asyncio.Task[Answer]] = []

    async def __aenter__(self) -> Crowd:
        self._batcher.start()
        self.join(1)
        await asyncio.sleep(0.01)
        self.join(self._waiting)
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.answer_all()
        await self._batcher.close(drain=True)

    async def answer_all(self) -> None:
        """Lets the engine go on; returns when nobody waits."""
        self._gate.open.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def join(self, count: int, within_s: float = 60.0) -> list[asyncio.Task[Answer]]:
        """So many more requests."""
        deadline = Deadline.after(self._clock.now_s(), within_s)
        made = [asyncio.ensure_future(self._batcher.submit(ROW, 1, deadline)) for _ in range(count)]
        self._tasks += made
        return made


async def _admit(crowd: Crowd) -> None:
    crowd.join(MANY)
    await asyncio.sleep(0)


async def _refuse(crowd: Crowd) -> None:
    for ended in await asyncio.gather(*crowd.join(MANY), return_exceptions=True):
        assert isinstance(ended, RetortError)


async def _expire(crowd: Crowd) -> None:
    for ended in await asyncio.gather(*crowd.join(MANY, within_s=0.02), return_exceptions=True):
        assert isinstance(ended, RetortError)


async def _leave(crowd: Crowd) -> None:
    tasks = crowd.join(MANY)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


STEPS: dict[str, tuple[Callable[[Crowd], Awaitable[None]], int]] = {
    "let in": (_admit, 10 * MANY),
    "refused, the queue is full": (_refuse, 0),
    "let in and expired": (_expire, 10 * MANY),
    "let in and left": (_leave, 10 * MANY),
}


async def cost_us(name: str, waiting: int) -> float:
    """Microseconds of one request more."""
    step, places = STEPS[name]
    async with Crowd(waiting if places else max(1, waiting), places) as crowd:
        gc.collect()  # else it falls upon one of the sizes
        began_s = time.process_time()
        await step(crowd)
        return (time.process_time() - began_s) / MANY * 1e6


async def answered_us(waiting: int) -> float:
    """Microseconds of one that is let in, run and answered, among that many that came with it."""
    count = max(MANY, waiting)
    async with Crowd(count) as crowd:
        began_s = time.process_time()
        await crowd.answer_all()
        return (time.process_time() - began_s) / count * 1e6


async def queue(rounds: int) -> list[Line]:
    """By requests that wait."""
    lines = {name: Line(name, "us") for name in STEPS}
    answered = Line("run and answered, with all that wait", "us")
    for number in range(rounds + 1):
        for size in WAITING:
            for name, line in lines.items():
                one_us = await cost_us(name, size)
                if number:
                    line.add(size, one_us)
            all_us = await answered_us(size)
            if number and size >= MANY:
                answered.add(size, all_us)
    return [*lines.values(), answered]
