"""A stream's requests: several at once, in bounded number, none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.gateway.grpc.stream import answers_to


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
