"""Quick runs wait for company while the turns of the loop bring some, for a millisecond at most; nothing else waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from service.batching.contract import CloseReason
from service.batching.moment import GATHER_S, Moment
from service.batching.run import Run
from service.batching.seams import BatcherSeams
from service.core.deadline import Deadline
from service.core.errors import NotReady
from tests.fakes import ManualClock
from tests.unit.batching.on_loop import Where, started

INLINE_S = 0.5


@dataclass
class Forms:
    """A moment over so many rows that wait, and how many there were each time batches were formed."""

    on_loop: bool = True
    most_rows: int = 32
    clock: ManualClock = field(default_factory=ManualClock)
    waiting: int = 0
    formed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        waiting, guard = lambda: self.waiting, lambda step: step
        self.moment = Moment(loop, self.clock, self.most_rows, waiting=waiting, form=self.form, guard=guard)
        self.moment.learn(Run([], CloseReason.FULL), done=self.on_loop)

    def form(self, _now_s: float) -> None:
        self.formed.append(self.waiting)
        self.waiting = 0

    async def turn(self, newcomers: int) -> None:
        """A turn of the loop that brings so many."""
        for _ in range(newcomers):
            self.waiting += 1
            self.moment.came(self.clock.now_s(), first=self.waiting == 1)
        await asyncio.sleep(0)


async def test_as_long_as_each_turn_brings_somebody_nobody_is_run() -> None:
    forms = Forms()
    for newcomers in (1, 2, 3):
        await forms.turn(newcomers)
        assert forms.formed == []
    await forms.turn(0)
    assert forms.formed == [6]
    await forms.turn(1)
    await forms.turn(0)
    assert forms.formed == [6, 1]


@pytest.mark.parametrize(
    ("on_loop", "most_rows", "formed"),
    [
        (True, 32, [5]),
        (False, 32, [1, 1, 1, 1, 1]),  # an engine on a thread waits for nobody
        (True, 1, [1, 1, 1, 1, 1]),  # nor do requests that are never put together
        (True, 3, [3, 2]),  # as many as a batch takes
    ],
)
async def test_who_waits_for_whom(on_loop: bool, most_rows: int, formed: list[int]) -> None:
    forms = Forms(on_loop, most_rows)
    for newcomers in (1, 1, 1, 1, 1, 0, 0, 0):
        await forms.turn(newcomers)
    assert forms.formed == formed


async def test_it_is_over_after_a_millisecond_whoever_comes() -> None:
    forms = Forms()
    for _ in range(7):
        await forms.turn(1)
        forms.clock.advance(GATHER_S / 4)
    assert forms.formed == [5]


async def test_where_no_engine_is_idle_nothing_is_gathered() -> None:
    forms = Forms()
    forms.moment.soon()
    await forms.turn(0)
    assert forms.formed == [0]


async def test_requests_of_three_turns_share_a_run() -> None:
    batcher = started(engine := Where(), INLINE_S)
    await batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())
    asked = []
    for _ in range(3):
        asked.append(asyncio.ensure_future(batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())))
        await asyncio.sleep(0)
    await asyncio.gather(*asked)
    assert engine.rows == [1, 3]
    await batcher.close(drain=True)


async def test_what_fails_while_others_are_waited_for_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    batcher = started(Where(), INLINE_S, seams=BatcherSeams(restart_after_s=60))

    def fails(*_: object) -> bool:
        raise ValueError("planted")

    monkeypatch.setattr(Moment, "_goes_on", fails)
    with pytest.raises(NotReady):
        async with asyncio.timeout(5):
            await batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())
    assert not batcher.healthy
    await batcher.close(drain=True)
