"""The generator of the fault tests takes no connection that the server let go for a broken answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.openloop import Connections

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BROKEN = b"IncompleteReadError"


async def test_a_connection_that_rested_until_it_was_closed_is_not_used_again() -> None:
    opened: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while await reader.read(1 << 10):
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(server.sockets[0].getsockname()[1])
    assert await connections.exchange(b"x") == (200, b"ok")
    assert await connections.exchange(b"x") == (200, b"ok")
    assert len(opened) == 1  # the control: one that rests is used again
    opened[0].close()
    await asyncio.sleep(0.05)
    assert await connections.exchange(b"x") == (200, b"ok")
    assert len(opened) == 2
    connections.close()
    await asyncio.sleep(0.05)
    server.close()


async def test_one_that_breaks_under_its_request_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 10)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    status, body = await Connections(server.sockets[0].getsockname()[1]).exchange(b"x")
    assert status == 0
    assert body.startswith(BROKEN)
    await asyncio.sleep(0.05)
    server.close()


@pytest.mark.parametrize(("at_most", "opened"), [(None, 9), (2, 2)])
async def test_where_so_many_are_open_the_rest_waits(at_most: int | None, opened: int) -> None:
    accepted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        while await reader.read(1 << 10):
            await asyncio.sleep(0.01)
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(server.sockets[0].getsockname()[1], at_most)
    assert await asyncio.gather(*(connections.exchange(b"x") for _ in range(9))) == [(200, b"ok")] * 9
    assert accepted == opened
    connections.close()
    await asyncio.sleep(0.05)
    server.close()
