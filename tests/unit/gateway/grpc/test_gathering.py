"""Calls that come together go on together; nobody waits for long, nor for those who do not come."""

from __future__ import annotations

import asyncio

import pytest

from service.gateway.grpc.gathering import GATHERED_LIMIT, QUIET_TURNS, WAIT_LIMIT_S, Gathering
from tests.fakes import ManualClock


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Calls:
    """Calls that join one after another, and the groups in which they went on."""

    def __init__(self, clock: ManualClock) -> None:
        self.gathering = Gathering(clock)
        self.passed: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, pause_turns: int = 0) -> None:
        self.tasks.append(asyncio.create_task(self._join(len(self.tasks))))
        await turns(pause_turns)

    async def _join(self, number: int) -> None:
        await self.gathering.join()
        self.passed.append(number)


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def calls(clock: ManualClock) -> Calls:
    return Calls(clock)


async def test_a_lone_call_goes_on_after_a_few_turns_and_without_time_passing(calls: Calls) -> None:
    await calls.come(QUIET_TURNS)
    assert calls.passed == []
    await turns(4)
    assert calls.passed == [0]


async def test_calls_that_follow_one_another_go_on_together_in_their_order(calls: Calls) -> None:
    for _ in range(10):
        await calls.come(QUIET_TURNS - 2)
    assert calls.passed == []
    await turns(QUIET_TURNS)
    assert calls.passed == list(range(10))


async def test_one_that_comes_too_late_is_not_waited_for(calls: Calls) -> None:
    await calls.come(QUIET_TURNS + 4)
    await calls.come(1)
    assert calls.passed == [0]
    await turns(QUIET_TURNS + 4)
    assert calls.passed == [0, 1]


async def test_no_more_than_the_limit_wait_for_one_another(calls: Calls) -> None:
    for _ in range(GATHERED_LIMIT):
        await calls.come()
    await turns(4)
    assert calls.passed == list(range(GATHERED_LIMIT))


async def test_the_first_does_not_wait_long_however_many_come(calls: Calls, clock: ManualClock) -> None:
    for _ in range(GATHERED_LIMIT // 2):
        await calls.come(2)
    assert calls.passed == []
    clock.advance(WAIT_LIMIT_S)
    await turns(3)
    assert calls.passed == list(range(GATHERED_LIMIT // 2))


async def test_a_call_that_is_cancelled_meanwhile_keeps_nobody(calls: Calls) -> None:
    await calls.come(1)
    await calls.come(1)
    calls.tasks[0].cancel()
    await turns(QUIET_TURNS + 4)
    assert calls.passed == [1]
    assert calls.tasks[0].cancelled()
