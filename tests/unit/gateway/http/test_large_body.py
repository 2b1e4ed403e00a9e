"""A large body of tensors arrives whole and aligned in one piece of memory, within every limit that any body has."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.core.errors import Abandoned, Rejected, RetortError, TooLarge, TooSlow
from service.gateway.budget import ByteBudget, Share
from service.gateway.guard import SHARE, Body, read_tensors
from service.gateway.http.large_body import LargeBody
from service.gateway.http.limits import Limits
from service.gateway.http.server import HttpServer
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.http.hostile import Looks, is_read

BODY = np.random.default_rng(0).bytes(700_001)
OFFSET = 131
SLOW = Limits(head_s=60, window_s=0.3, window_bytes=1000, idle_s=60, linger_s=2, look_s=0.02)


def head(size_bytes: int = len(BODY), more: bytes = b"", offset: bytes = b"%d" % OFFSET) -> bytes:
    length = b"Inference-Header-Content-Length: %b\r\nContent-Length: %d\r\n" % (offset, size_bytes)
    return b"POST / HTTP/1.1\r\nHost: x\r\n%b%b\r\n" % (length, more)


@dataclass
class Echo:
    """Answers with the body, or with what kept it from being read."""

    limit_bytes: int = 1 << 24
    budget_bytes: int = 1 << 24
    used_bytes: int = 0  # of it, by others
    late: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: list[Body] = field(default_factory=list)
    errors: list[RetortError] = field(default_factory=list)
    read: asyncio.Event = field(default_factory=asyncio.Event)
    held_bytes: list[int] = field(default_factory=list)  # of the budget, when a body was whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.late.wait()
        budget = ByteBudget(self.budget_bytes)
        Share(budget).take(self.used_bytes)
        scope[SHARE] = Share(budget)
        try:
            body = await read_tensors(dict(scope["headers"]), receive, self.limit_bytes, scope)
        except RetortError as error:
            self.errors.append(error)
            self.read.set()
            await Response(b"no", 400)(scope, receive, send)
        else:
            self.bodies.append(body)
            self.held_bytes.append(budget.used_bytes - self.used_bytes)
            self.read.set()
            await Response(bytes(body))(scope, receive, send)


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answers(self, *expected: bytes) -> None:
        async with asyncio.timeout(20):
            for body in expected:
                told = await self.reader.readuntil(b"\r\n\r\n")
                size = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
                assert await self.reader.readexactly(size) == body

    async def sends(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await is_read()


@asynccontextmanager
async def served(
    echo: Echo, limits: Limits | None = None, tls: ssl.SSLContext | None = None, *, late: bool = False
) -> AsyncIterator[Client]:
    if not late:
        echo.late.set()
    server = HttpServer(echo, "127.0.0.1", 0, drain_timeout_s=5, tls=tls, **({"limits": limits} if limits else {}))
    Looks(server)
    await server.start()
    trusting: Any = None
    if tls is not None:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting, limit=1 << 21)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        await server.stop()


def is_direct(body: Body) -> bool:
    """Whether it lies where it was read to: aligned behind the offset, and not to be written."""
    if not isinstance(body, memoryview):
        return False
    assert body.readonly
    return np.frombuffer(body, np.uint8).ctypes.data % 64 == -OFFSET % 64


@pytest.mark.parametrize("cuts", [(), (1,), (70_000,), (10, 300_000, 700_000)])
@pytest.mark.parametrize("with_head", [True, False])
async def test_it_arrives_whole_and_the_connection_goes_on(cuts: tuple[int, ...], with_head: bool) -> None:
    bounds = [0, *cuts, len(BODY)]
    pieces = [BODY[begin:end] for begin, end in pairwise(bounds)]
    async with served(echo := Echo()) as client:
        first = [head() + pieces[0], *pieces[1:]] if with_head else [head(), *pieces]
        await client.sends(*first)
        await client.answers(BODY)
        await client.sends(head() + BODY + head(4) + b"then" + head() + BODY)
        await client.answers(BODY, b"then", BODY)
    assert is_direct(echo.bodies[0])
    assert is_direct(echo.bodies[1])
    assert echo.held_bytes == [len(BODY), len(BODY), 4, len(BODY)]


def certified(folder: Path) -> ssl.SSLContext:
    pair = make_pair(folder)
    return Certificate(pair.chain, pair.key, logs.logger("test")).context


async def test_it_arrives_through_tls(tmp_path: Path) -> None:
    async with served(echo := Echo(), tls=certified(tmp_path)) as client:
        for _ in range(2):
            await client.sends(head(), BODY[:5], BODY[5:])
            await client.answers(BODY)
    assert all(map(is_direct, echo.bodies))


async def test_what_came_before_anybody_asked_counts_too() -> None:
    async with served(echo := Echo(), late=True) as client:
        await client.sends(head(100_000) + BODY[:100_000] + head(4) + b"then")
        await asyncio.sleep(0.1)
        echo.late.set()
        await client.answers(BODY[:100_000], b"then")
    assert is_direct(echo.bodies[0])


@pytest.mark.parametrize(
    "request_",
    [
        head(1000) + BODY[:1000],
        head(offset=b"0") + BODY,
        head(offset=b"x") + BODY,
        head(more=b"Expect: 100-continue\r\n") + BODY,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY,
        b"POST / HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    ],
    ids=["small", "raw", "no number", "expected first", "no tensors", "chunked"],
)
async def test_any_other_goes_the_usual_way(request_: bytes) -> None:
    async with served(echo := Echo()) as client:
        await client.sends(request_)
        await asyncio.wait_for(echo.read.wait(), 20)
    assert isinstance(echo.bodies[0], bytes)


async def test_one_that_announces_too_much_is_refused_unread() -> None:
    async with served(echo := Echo(limit_bytes=len(BODY) - 1)) as client:
        await client.sends(head())
        await client.answers(b"no")
    assert isinstance(echo.errors[0], TooLarge)


async def test_the_budget_is_taken_as_it_comes_and_the_rest_is_read_over() -> None:
    async with served(echo := Echo(budget_bytes=1_000_000, used_bytes=500_000)) as client:
        await client.sends(head(), BODY[:200_000])
        assert not echo.errors
        await client.sends(BODY[200_000:400_000])
        await client.answers(b"no")
        await client.sends(BODY[400_000:], head(4) + b"then")
        await client.answers(b"then")
    assert isinstance(echo.errors[0], Rejected)


async def test_one_that_the_budget_never_has_room_for_is_refused_unread() -> None:
    async with served(echo := Echo(budget_bytes=400_000)) as client:
        await client.sends(head())
        await client.answers(b"no")
    assert isinstance(echo.errors[0], TooLarge)


def bodies_there() -> list[LargeBody]:
    # Not `isinstance`: it asks the objects themselves, and some of other libraries warn.
    return [one for one in gc.get_objects() if type(one) is LargeBody]


@pytest.fixture
def no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("late", [False, True])
async def test_one_whose_client_leaves_is_waited_for_by_nobody_and_gone_at_once(late: bool) -> None:
    async with served(echo := Echo(), late=late) as client:
        await client.sends(head(), BODY[:300_000])
        assert len(bodies_there()) == (not late)
        client.writer.transport.abort()
        await asyncio.sleep(0.05)
        echo.late.set()
        await asyncio.wait_for(echo.read.wait(), 20)
    assert isinstance(echo.errors[0], Abandoned)  # with its traceback, which holds whatever was at hand
    assert not bodies_there()


async def test_the_memory_of_a_refused_body_goes_though_its_client_stays() -> None:
    async with served(echo := Echo(budget_bytes=1 << 20, used_bytes=900_000)) as client:
        await client.sends(head(), BODY[:100_000])
        (large,) = bodies_there()
        memory = weakref.ref(large.get_buffer(-1).obj)
        assert memory() is not None
        await client.sends(BODY[100_000:160_000])
        await asyncio.wait_for(echo.read.wait(), 20)
        echo.errors.pop().with_traceback(None)  # whose frames hold what this loop reads into
        assert memory() is None
        assert len(large.get_buffer(-1)) <= 64 << 10


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("secure", [False, True])
async def test_the_memory_of_an_answered_body_goes_though_its_client_stays(tmp_path: Path, secure: bool) -> None:
    async with served(echo := Echo(), tls=certified(tmp_path) if secure else None) as client:
        await client.sends(head(), BODY[:100_000])
        (large,) = bodies_there()
        memory = weakref.ref(large.get_buffer(-1).obj)
        assert memory() is not None
        await client.sends(BODY[100_000:])
        await client.answers(BODY)
        echo.bodies.clear()
        await asyncio.sleep(0)
        assert memory() is None  # the transport, which is at rest, has still got the LargeBody
        del large
        assert bodies_there()


async def test_one_that_comes_too_slowly_is_broken_and_one_that_makes_progress_is_not() -> None:
    async with served(echo := Echo(), SLOW) as client:
        await client.sends(head(), BODY[:1000])
        for begin in range(1000, 100_000, 10_000):
            await client.sends(BODY[begin : begin + 10_000])
            await asyncio.sleep(0.08)
        assert not echo.errors
        await client.answers(b"no")
    assert isinstance(echo.errors[0], TooSlow)


class Reader:
    """A connection that only counts."""

    def __init__(self) -> None:
        self.came_bytes = 0
        self.whole = False
        self.large: LargeBody | None = None
        self.transport = self.scope = self.cycle = self.flow = self
        self.protocol: object = None

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def body_came(self, size_bytes: int) -> None:
        self.came_bytes += size_bytes

    def body_is_whole(self) -> None:
        self.whole = True

    def connection_lost(self, exc: Exception | None) -> None:
        raise AssertionError

    eof_received = pause_writing = resume_writing = body_is_whole


async def test_there_is_never_room_for_bytes_of_the_next_request() -> None:
    reader = Reader()
    large = LargeBody(reader, 1000, 0, lambda _: None)
    large.begin(b"x" * 100)
    assert reader.protocol is reader.large is large
    for missing_bytes in (900, 400, 1):
        room = large.get_buffer(-1)
        assert len(room) == missing_bytes
        size_bytes = min(missing_bytes, {900: 500, 400: 399, 1: 1}[missing_bytes])
        room[:size_bytes] = b"y" * size_bytes
        large.buffer_updated(size_bytes)
    assert (reader.protocol, reader.whole, reader.came_bytes) == (reader, True, 900)
    await large.whole
    assert large.let_go() == b"x" * 100 + b"y" * 900


async def test_what_nobody_waits_for_takes_little_memory() -> None:
    reader = Reader()
    large = LargeBody(reader, 10 << 20, 0, lambda _: None)
    large.begin(b"")
    assert len(large.get_buffer(-1)) == 10 << 20
    large.whole.cancel()
    read_bytes = 0
    while not reader.whole:
        room = large.get_buffer(-1)
        assert len(room) <= 64 << 10
        large.buffer_updated(len(room))
        read_bytes += len(room)
    assert read_bytes == 10 << 20
    assert len(large.let_go()) == 0
