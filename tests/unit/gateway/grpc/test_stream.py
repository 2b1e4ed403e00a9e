"""A stream's requests: several at once, in bounded number, none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.core.errors import Draining
from service.gateway.grpc.stream import IN_FLIGHT_LIMIT_BYTES, answers_to


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_every_request_is_answered_once() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    answers = [answer async for answer in answers_to(numbers(1000), double, limit=8)]
    assert sorted(answers) == [2 * number for number in range(1000)]


async def test_an_answer_does_not_wait_for_an_earlier_slow_one() -> None:
    slow = asyncio.Event()

    async def answer(number: int) -> int:
        if number == 0:
            await slow.wait()
        return number

    found = answers_to(numbers(3), answer)
    assert [await anext(found), await anext(found)] == [1, 2]
    slow.set()
    assert [last async for last in found] == [0]


async def test_no_more_are_read_than_may_be_in_flight() -> None:
    read = 0
    free = asyncio.Event()

    async def endless() -> AsyncIterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    async def answer(number: int) -> int:
        await free.wait()
        return number

    found = answers_to(endless(), answer, limit=4)
    first = asyncio.ensure_future(anext(found))
    for _ in range(100):
        await asyncio.sleep(0)
    assert read == 5  # the fifth waits for a place
    free.set()
    assert await first in range(1, 5)
    await found.aclose()  # type: ignore[attr-defined]


async def test_a_client_that_leaves_takes_its_requests_along() -> None:
    cancelled: list[int] = []

    async def answer(number: int) -> int:
        if number == 0:
            return number
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    found = answers_to(numbers(5), answer)
    assert await anext(found) == 0
    await asyncio.sleep(0)
    await found.aclose()  # type: ignore[attr-defined]
    assert sorted(cancelled) == [1, 2, 3, 4]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("stream")] == []


async def test_what_was_read_before_the_reading_ended_is_answered_however_long_it_takes() -> None:
    slow = asyncio.Event()

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def answer(number: int) -> int:
        await slow.wait()
        return number

    stream = answers_to(broken(), answer)
    first = asyncio.ensure_future(anext(stream))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    slow.set()
    assert await first == 1
    with pytest.raises(ConnectionError, match="gone"):
        await anext(stream)


async def test_what_ends_the_reading_is_raised_after_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def answer(number: int) -> int:
        return number

    found: list[int] = []
    with pytest.raises(ConnectionError, match="gone"):
        async for one in answers_to(broken(), answer):
            found.append(one)


def pairs(number: int) -> str:
    """Requests 0 and 1 belong together, and so do 2 and 3."""
    return str(number // 2)


@pytest.mark.parametrize(("turn", "begun"), [(pairs, {0, 2}), (lambda _: None, {0, 1, 2, 3})])
async def test_requests_of_one_sequence_wait_for_each_other(turn: Any, begun: set[int]) -> None:
    seen: list[int] = []
    go, ready = asyncio.Event(), asyncio.Event()

    async def answer(number: int) -> int:
        seen.append(number)
        if set(seen) >= begun:
            ready.set()
        await go.wait()
        return number

    stream = answers_to(numbers(4), answer, turn=turn)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.wait_for(ready.wait(), 20)
    assert set(seen) == begun
    go.set()
    answers = [await first, *[one async for one in stream]]
    assert sorted(answers) == [0, 1, 2, 3]
    assert answers.index(0) < answers.index(1) and answers.index(2) < answers.index(3)


async def test_a_server_that_stops_answers_what_it_read_and_reads_no_more() -> None:
    stopping, go, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def idle() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()  # a client that sends nothing more
        finally:
            left.set()

    async def answer(number: int) -> int:
        await go.wait()
        return number

    stream = answers_to(idle(), answer, stopping=stopping)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    stopping.set()
    await asyncio.wait_for(left.wait(), 20)
    assert not first.done()
    go.set()
    assert await first == 1
    with pytest.raises(Draining, match="reads no more"):
        await asyncio.wait_for(anext(stream), 20)


async def test_a_stream_that_ends_by_itself_is_no_drain() -> None:
    async def answer(number: int) -> int:
        return number

    assert [one async for one in answers_to(numbers(3), answer, stopping=asyncio.Event())] == [0, 1, 2]


@pytest.mark.parametrize(("size_bytes", "read_first"), [(1, 10), (IN_FLIGHT_LIMIT_BYTES // 4, 4), (1 << 30, 1)])
async def test_no_more_bytes_are_read_than_may_be_in_flight(size_bytes: int, read_first: int) -> None:
    begun: list[int] = []
    free = asyncio.Event()

    async def answer(number: int) -> int:
        begun.append(number)
        await free.wait()
        return number

    found = answers_to(numbers(10), answer, size_bytes=lambda _: size_bytes)
    first = asyncio.ensure_future(anext(found))
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(begun) == read_first
    free.set()
    assert [await first, *[last async for last in found]] == list(range(10))


async def test_answers_that_are_not_taken_stop_the_reading() -> None:
    begun: list[int] = []

    async def answer(number: int) -> str:
        begun.append(number)
        return str(number)

    def size_bytes(item: object) -> int:
        return IN_FLIGHT_LIMIT_BYTES // 2 if isinstance(item, str) else 1

    async def one_after_the_other() -> AsyncIterator[int]:
        for number in range(50):
            yield number
            for _ in range(10):
                await asyncio.sleep(0)

    found = answers_to(one_after_the_other(), answer, size_bytes=size_bytes)
    assert await anext(found) == "0"
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(begun) < 5, "it read on though no answer was taken"
    assert [last async for last in found] == [str(number) for number in range(1, 50)]
