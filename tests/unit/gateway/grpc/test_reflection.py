"""A stream of questions ends with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.gateway.grpc.readable import UNREADABLE
from service.gateway.grpc.reflection import until


async def questions(left: asyncio.Event, *, more: bool) -> AsyncIterator[int]:
    yield 1
    yield 2
    if more:
        try:
            await asyncio.Event().wait()  # a client that asks nothing more
        finally:
            left.set()


async def test_items_come_until_there_are_no_more() -> None:
    assert [item async for item in until(asyncio.Event(), questions(asyncio.Event(), more=False))] == [1, 2]


async def test_what_cannot_be_read_ends_the_questions() -> None:
    async def asked() -> AsyncIterator[object]:
        yield 1
        yield UNREADABLE
        yield 2

    assert [item async for item in until(asyncio.Event(), asked())] == [1]


async def test_who_asks_nothing_for_a_while_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.grpc.reflection.REST_S", 0.05)
    left = asyncio.Event()
    async with asyncio.timeout(20):
        assert [item async for item in until(asyncio.Event(), questions(left, more=True))] == [1, 2]
    assert left.is_set()


async def test_what_stops_ends_the_wait_for_the_next_item() -> None:
    stopping, left = asyncio.Event(), asyncio.Event()
    items = until(stopping, questions(left, more=True))
    assert [await anext(items), await anext(items)] == [1, 2]
    following = asyncio.ensure_future(anext(items, None))
    await asyncio.sleep(0)
    assert not following.done()
    stopping.set()
    assert await asyncio.wait_for(following, 5) is None
    assert left.is_set()
