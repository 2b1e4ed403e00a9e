"""Requests that come whole, over real sockets: which they are, how they are answered, and what else may happen then."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.errors import Abandoned
from service.gateway.guard import WATCH, while_client_waits
from service.gateway.http.exchange import WHOLE, Exchange
from service.gateway.http.limits import Limits
from service.gateway.http.server import HttpServer
from tests.unit.gateway.http.hostile import is_read

HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
WORDS = b"a body"


def post(body: bytes = WORDS, fields: bytes = b"") -> bytes:
    return HEAD % len(body) + fields + b"\r\n" + body


class App:
    """Echoes bodies, and notes which requests came whole; holds an answer back while `open` is not set."""

    def __init__(self) -> None:
        self.whole: list[bool] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.ends: list[object] = []
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.whole.append(WHOLE in scope)
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.begun.set()
        if self.error is not None:
            raise self.error
        try:
            with while_client_waits(scope, receive, 0.001):
                await self.open.wait()
        except BaseException as error:
            self.ends.append(type(error))
            self.ended.set()
            if isinstance(error, asyncio.CancelledError):
                await Response(b"stopped", 503)(scope, receive, send)
            return
        await Response(body, headers={"x-path": scope["path"]})(scope, receive, send)


class House:
    """A real server with an `App` behind it, and a connection to it."""

    def __init__(
        self, app: App, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.app, self.server, self.reader, self.writer = app, server, reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await is_read()

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next answer."""
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head = await self.reader.readuntil(b"\r\n\r\n")
            return head, await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    app = App()
    server = HttpServer(app, "127.0.0.1", 0, drain_timeout_s=5, limits=Limits(look_s=3600))
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    yield House(app, server, reader, writer)
    writer.close()
    app.open.set()
    await server.stop()


async def test_a_request_that_comes_whole_is_answered_whole(house: House) -> None:
    for _ in range(3):
        await house.send(post())
        head, body = await house.answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
        assert b"x-path: /v2/models/m/infer\r\n" in head
        assert body == WORDS
    assert house.app.whole == [True, True, True]


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([post()[:-6], WORDS], True),  # as many clients do it: the head, then the body
        ([post()[:-3], WORDS[3:]], True),
        ([post()[:-6], WORDS[:3], WORDS[3:]], False),
        ([post()[:30], post()[30:]], False),
        ([post(b"")], True),
        ([post(b"x" * 60_000)[:1000], post(b"x" * 60_000)[1000:]], True),
        ([post(b"x" * 70_000)], False),
        ([post(fields=b"Expect: 100-continue\r\n")], False),
        ([post(fields=b"Upgrade: h2c\r\nConnection: Upgrade\r\n")], False),
        ([post(fields=b"Connection: close\r\n")], False),
        ([post().replace(b"/v2/", b"/v3/")], False),
    ],
)
async def test_in_how_many_pieces_it_may_come(house: House, pieces: list[bytes], whole: bool) -> None:
    await house.send(*pieces)
    _, body = await house.answer()
    assert body == b"".join(pieces).partition(b"\r\n\r\n")[2]
    assert house.app.whole == [whole]


async def test_requests_behind_one_another_keep_their_order(house: House) -> None:
    house.app.open.clear()
    await house.send(post(b"1"), post(b"2") + post(b"3"), post(b"4")[:40], post(b"4")[40:])
    house.app.open.set()
    assert [(await house.answer())[1] for _ in range(4)] == [b"1", b"2", b"3", b"4"]
    assert house.app.whole[:2] == [True, False]
    await house.send(post(b"5"))
    assert (await house.answer())[1] == b"5"
    assert house.app.whole[-1]


async def test_whoever_works_for_a_client_that_leaves_hears_of_it_at_once(house: House) -> None:
    house.app.open.clear()
    await house.send(post())
    house.writer.close()
    async with asyncio.timeout(10):
        await house.app.ended.wait()
    assert house.app.ends == [Abandoned]


async def test_an_application_without_an_answer_ends_the_connection(house: House) -> None:
    house.app.error = ValueError("x")
    await house.send(post())
    async with asyncio.timeout(10):
        assert await house.reader.read() == b""


async def test_a_server_that_stops_answers_what_has_begun_and_says_that_it_is_the_last(house: House) -> None:
    house.app.open.clear()
    await house.send(post())
    stopping = asyncio.create_task(house.server.stop())
    await asyncio.sleep(0.15)
    assert not stopping.done()
    house.app.open.set()
    head, body = await house.answer()
    assert (b"connection: close\r\n" in head, body) == (True, WORDS)
    async with asyncio.timeout(10):
        await stopping
    assert await house.reader.read() == b""


async def test_a_server_that_stops_waits_for_the_body_of_a_head_that_it_knows(house: House) -> None:
    await house.send(post()[:-6])
    stopping = asyncio.create_task(house.server.stop())
    await asyncio.sleep(0.15)
    assert not stopping.done()
    await house.send(WORDS)
    assert (await house.answer())[1] == WORDS
    async with asyncio.timeout(10):
        await stopping


class Line:
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.completed = 0
        self.transport: Any = self
        self.server_state: Any = self
        self.default_headers = [(b"date", b"today")]
        self.flow: Any = self
        self.write_paused = False
        self.drained = asyncio.Event()
        self.tasks: set[Any] = set()
        self.logger = logging.getLogger("line")

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def end(self) -> None:
        self.close()

    async def drain(self) -> None:
        await self.drained.wait()

    def on_response_complete(self) -> None:
        self.completed += 1


ALONE = 2  # references to what a function holds, and asks of

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}


async def test_an_answer_in_one_part_is_one_write() -> None:
    line = Line()
    exchange = Exchange(line, {}, b"")
    await exchange.send(START)
    assert line.written == b""
    await exchange.send({"type": "http.response.body", "body": b"ok"})
    assert line.written == b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nok"
    assert (line.completed, exchange.response_complete, line.closed) == (1, True, False)


async def test_an_answer_in_parts_is_a_write_each() -> None:
    line = Line()
    exchange = Exchange(line, {}, b"")
    await exchange.send(START)
    await exchange.send({"type": "http.response.body", "body": b"o", "more_body": True})
    assert line.written.endswith(b"\r\n\r\no")
    assert (line.completed, exchange.response_complete) == (0, False)
    await exchange.send({"type": "http.response.body", "body": b"k"})
    assert line.written.endswith(b"\r\n\r\nok")
    assert (line.completed, exchange.response_complete) == (1, True)


async def test_a_client_that_takes_no_answers_is_waited_for() -> None:
    line = Line()
    line.write_paused = True
    exchange = Exchange(line, {}, b"")
    assert not exchange.ready
    await exchange.send(START)
    sending = asyncio.create_task(exchange.send({"type": "http.response.body", "body": b"ok"}))
    await asyncio.sleep(0.01)
    assert line.written == b""
    line.drained.set()
    await sending
    assert line.written.endswith(b"ok")


async def test_nothing_is_written_to_a_client_that_left() -> None:
    line = Line()
    exchange = Exchange(line, {}, b"body")
    exchange.leave()
    exchange.answer(200, [], b"late")
    assert (line.written, line.completed) == (b"", 0)
    assert (await exchange.receive())["body"] == b"body"
    assert await exchange.receive() == {"type": "http.disconnect"}


async def test_whoever_asks_for_more_than_the_body_hears_when_the_client_leaves() -> None:
    exchange = Exchange(Line(), {}, b"")
    await exchange.receive()
    waiting = asyncio.create_task(exchange.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    exchange.leave()
    assert await waiting == {"type": "http.disconnect"}


async def test_a_client_that_left_before_the_work_began_ends_it_all_the_same() -> None:
    scope: dict[str, Any] = {}
    exchange = Exchange(Line(), scope, b"")
    exchange.leave()
    with pytest.raises(Abandoned), while_client_waits(scope, exchange.receive):
        await asyncio.sleep(60)
    assert scope[WATCH] is exchange


async def test_who_has_ended_is_not_cancelled() -> None:
    scope: dict[str, Any] = {}
    exchange = Exchange(Line(), scope, b"")
    with while_client_waits(scope, exchange.receive):
        await asyncio.sleep(0)
    exchange.leave()
    await asyncio.sleep(0)
    assert await asyncio.sleep(0, "done") == "done"


async def test_a_connection_that_rests_keeps_nothing_of_its_last_request() -> None:
    line, scope = Line(), {"headers": [(b"a", b"b")]}
    body = bytes(1000)
    exchange = Exchange(line, scope, body)
    assert sys.getrefcount(body) > ALONE

    async def app() -> None:
        exchange.answer(200, [], b"ok")

    task = asyncio.create_task(app())
    line.tasks.add(task)
    task.add_done_callback(exchange.ended)
    await task
    await asyncio.sleep(0)
    assert (sys.getrefcount(body), scope, line.tasks, line.closed) == (ALONE, {}, set(), False)
