"""A stream of questions ends with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.gateway.grpc.readable import UNREADABLE
from service.gateway.grpc.reflection import STREAMS_LIMIT, add_reflection, until


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


@pytest.mark.parametrize(("size_bytes", "answered"), [(4000, True), (5000, False)])
async def test_a_question_of_more_than_names_ends_its_stream(size_bytes: int, answered: bool) -> None:
    """Six of 60 MiB, with their answers, took 1.4 GiB for as long as nobody took those."""
    server = grpc.aio.server()
    add_reflection(server, (), asyncio.Event())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(file_by_filename="x" * size_bytes))
        answer = await stream.read()
        stream.cancel()
    await server.stop(0)
    assert (answer is not grpc.aio.EOF) is answered


async def test_no_more_streams_than_some_are_open_and_those_that_end_make_room() -> None:
    """They need no key: four connections of them took the places of all calls."""
    server = grpc.aio.server()
    add_reflection(server, (), asyncio.Event())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    held: list[Any] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def is_answered() -> bool:
            """Whether one more is answered, which then stays open."""
            held.append(stub.ServerReflectionInfo())
            try:
                await held[-1].write(question)
                return await held[-1].read() is not grpc.aio.EOF
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                assert await held[-1].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                return False

        assert [await is_answered() for _ in range(STREAMS_LIMIT + 1)] == [*[True] * STREAMS_LIMIT, False]
        held[0].cancel()  # a client that leaves
        await held[1].done_writing()  # and one that has asked all
        for _ in range(2):
            while not await is_answered():
                pass
        assert not await is_answered()
    await server.stop(0)
