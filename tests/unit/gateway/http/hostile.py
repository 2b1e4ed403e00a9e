"""A raw connection to a server with limits of one's own, for tests of what a hostile client meets."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.gateway.guard import read_body
from service.gateway.http.entrance import Entrance, Problems
from service.gateway.http.limits import Limits
from service.gateway.http.server import HttpServer
from service.observe import logs

PATIENCE_S = 20.0
SHORT = Limits(head_s=0.15, window_s=0.3, window_bytes=1000, idle_s=0.4, linger_s=2, look_s=0.02)
FOREVER = Limits(head_s=60, window_s=60, window_bytes=1, idle_s=60, linger_s=0.1, look_s=0.02)
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Looks:
    """In the place of a sweeper's reading of the clock: of the time between two looks, little more than usual counts.

    What holds the machine up holds up the clients as well, who share the loop of a test, and is not their slowness.

    Attributes:
        also_s: counts with the next look: a time for which a test holds the loop up.
    """

    def __init__(self, server: HttpServer) -> None:
        self._sweeper = server._sweeper
        self._read = self._sweeper._take_time
        self._seen_s = self._counted_s = 0.0
        self.also_s = 0.0
        self._sweeper._take_time = self  # type: ignore[method-assign]

    def __call__(self) -> None:
        self._read()
        now_s = self._sweeper.now_s
        passed_s = min(now_s - self._seen_s, 2 * self._sweeper._every_s) if self._seen_s else now_s
        self._counted_s += passed_s + self.also_s
        self._seen_s, self.also_s = now_s, 0.0
        self._sweeper.now_s = self._counted_s


async def is_read() -> None:
    """Returns when what was sent has been read, apart from what follows: the loop has read its sockets some times.

    One sleep is not enough: a loop that was held up fires its timers before it reads.
    """
    for _ in range(5):
        await asyncio.sleep(0.002)


@dataclass
class Client:
    """A raw connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def closed(self, within_s: float = PATIENCE_S) -> bytes:
        """All that came until the server closed."""
        got = bytearray()
        try:
            async with asyncio.timeout(within_s):
                while octets := await self.reader.read(65536):
                    got += octets
        except ConnectionResetError:
            pass
        return bytes(got)

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: status and body."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return int(head.split()[1]), await self.reader.readexactly(size)


@dataclass
class Service:
    """A server whose handler echoes; `held` keeps answers back until it is set; /early and /fails read nothing."""

    limits: Limits
    tls: ssl.SSLContext | None = None
    responses: Counter[int] = field(default_factory=Counter)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[dict[bytes, bytes]] = field(default_factory=list)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/early":
            await Response(b"early", 413)(scope, receive, send)
            return
        if scope["path"] == "/fails":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("in the middle of its answer")
        body = await read_body({}, receive, 1 << 30, scope)
        if scope["path"] == "/held":
            await self.held.wait()
        if scope["path"] == "/large":
            body = bytes(30 << 20)
        self.seen.append(dict(scope["headers"]))
        await Response(body)(scope, receive, send)

    async def infer(self, request: Request) -> Response:
        body = await request.body()
        if "/held/" in request.scope["path"]:
            await self.held.wait()
        return Response(body)

    def refused(self, status: int) -> None:
        self.responses[status] += 1

    def __post_init__(self) -> None:
        entrance = Entrance(self.app, self.infer, Problems(logs.logger("test")), self.responses, None)
        self.server = HttpServer(
            entrance, "127.0.0.1", 0, drain_timeout_s=5, tls=self.tls, limits=self.limits, refused=self.refused
        )
        self.looks = Looks(self.server)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        await self.server.start()
        try:
            yield self
            async with self.client() as client:
                client.send(HEAD % 4 + b"good")
                assert await client.answer() == (200, b"good")  # a good request works
        finally:
            self.held.set()
            self.server.hurry()
            await self.server.stop()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        trusting = ssl._create_unverified_context() if self.tls else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=trusting)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()


def status_of(octets: bytes) -> int:
    return int(octets.split()[1]) if octets else 0
