"""A message has a time to be whole, few may be slow at once, and nobody is blamed for what the loop did not see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

from service.core.errors import BadInput, Rejected, TooSlow
from service.gateway.budget import ByteBudget
from service.gateway.grpc.arrivals import BYTES_PER_S, LEAST_S, LOOK_S, SLOW_AT_LEAST, SLOW_S, Arrivals
from service.gateway.grpc.readable import UNREADABLE
from tests.fakes import Hang, ManualLoop, run_manually

LARGEST_BYTES = 64 << 20
LIMIT_S = LARGEST_BYTES / BYTES_PER_S


class Sent:
    """A call whose client sends its message when a test says so."""

    def __init__(self) -> None:
        self.message: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def read(self) -> object:
        return await self.message


def manually(main: Callable[[ManualLoop], Coroutine[Any, Any, None]]) -> None:
    run_manually(main)


def test_a_message_that_is_there_is_handed_over_and_nothing_goes_on() -> None:
    taken = []

    async def main(loop: ManualLoop) -> None:
        arrivals, call = Arrivals(ByteBudget(1), 1), Sent()
        call.message.set_result("message")
        for _ in range(2):
            taken.append(await arrivals.message(call))
            await asyncio.sleep(2 * LOOK_S)
        await loop.create_future()

    with pytest.raises(Hang, match="nothing is left to do"):
        manually(main)
    assert taken == ["message", "message"]


@pytest.mark.parametrize(("largest_bytes", "limit_s"), [(1, LEAST_S), (LARGEST_BYTES, LIMIT_S)])
def test_a_message_that_does_not_come_is_given_up_in_its_time(largest_bytes: int, limit_s: float) -> None:
    async def main(loop: ManualLoop) -> None:
        began_s = loop.time()
        with pytest.raises(TooSlow, match=f"did not come in {limit_s:.0f} s"):
            await Arrivals(ByteBudget(1), largest_bytes).message(Sent())
        assert limit_s <= loop.time() - began_s <= limit_s + 3 * LOOK_S

    manually(main)


def test_a_message_that_comes_late_and_in_time_is_taken() -> None:
    async def main(loop: ManualLoop) -> None:
        call = Sent()
        loop.call_later(LEAST_S - 2 * LOOK_S, call.message.set_result, "message")
        assert await Arrivals(ByteBudget(1), 1).message(call) == "message"

    manually(main)


@pytest.mark.parametrize(("budget_bytes", "room"), [(20 * LARGEST_BYTES, 20), (1, SLOW_AT_LEAST), (1 << 60, 50)])
def test_more_slow_messages_than_the_budget_has_room_for_are_refused(budget_bytes: int, room: int) -> None:
    async def main(loop: ManualLoop) -> None:
        arrivals = Arrivals(ByteBudget(budget_bytes), LARGEST_BYTES)
        tasks = [asyncio.create_task(arrivals.message(Sent())) for _ in range(50)]
        await asyncio.sleep(SLOW_S - LOOK_S)
        assert not any(task.done() for task in tasks), "it takes a second to be slow"
        await asyncio.sleep(3 * LOOK_S)
        assert [task.done() for task in tasks] == [False] * room + [True] * (50 - room), "who came first stays"
        assert {type(task.exception()) for task in tasks[room:]} <= {Rejected}

    manually(main)


def test_time_that_the_loop_did_not_see_is_nobodys_fault() -> None:
    async def main(loop: ManualLoop) -> None:
        arrivals, call = Arrivals(ByteBudget(1), 1), Sent()
        reading = asyncio.create_task(arrivals.message(call))
        await asyncio.sleep(LOOK_S)
        loop.clock.advance(10 * LEAST_S)
        await asyncio.sleep(LOOK_S)
        call.message.set_result("message")
        assert await reading == "message"

    manually(main)


def test_a_client_that_leaves_is_no_late_one_even_in_the_same_moment() -> None:
    async def main(loop: ManualLoop) -> None:
        arrivals = Arrivals(ByteBudget(1), 1)
        for after_s in (1.0, LEAST_S):
            reading = asyncio.create_task(arrivals.message(Sent()))
            await asyncio.sleep(0)
            loop.call_later(after_s, reading.cancel)
            with pytest.raises(asyncio.CancelledError):
                await reading
            await asyncio.sleep(1)

    manually(main)


@pytest.mark.parametrize(
    ("came", "said"), [(grpc.aio.EOF, "before its message came"), (UNREADABLE, "not the protobuf")]
)
def test_a_call_without_a_message_that_can_be_read_is_a_bad_request(came: object, said: str) -> None:
    async def main(loop: ManualLoop) -> None:
        call = Sent()
        call.message.set_result(came)
        with pytest.raises(BadInput, match=said):
            await Arrivals(ByteBudget(1), 1).message(call)

    manually(main)
