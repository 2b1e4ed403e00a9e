"""What a hostile connection meets (promises H1, H2, H9), over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.gateway.guard import read_body
from service.gateway.http.entrance import Entrance, Problems
from service.gateway.http.limits import Limits
from service.gateway.http.server import HttpServer
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair

PATIENCE_S = 20.0
SHORT = Limits(head_s=0.15, window_s=0.3, window_bytes=1000, idle_s=0.4, linger_s=2, look_s=0.02)
FOREVER = Limits(head_s=60, window_s=60, window_bytes=1, idle_s=60, linger_s=0.1, look_s=0.02)
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

Deed = Callable[["Client"], object]


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
    """A server whose handler echoes; `held` keeps answers back until it is set."""

    limits: Limits
    tls: ssl.SSLContext | None = None
    responses: Counter[int] = field(default_factory=Counter)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[dict[bytes, bytes]] = field(default_factory=list)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body({}, receive, 1 << 30, scope)
        if scope["path"] == "/held":
            await self.held.wait()
        if scope["path"] == "/large":
            body = bytes(30 << 20)
        self.seen.append(dict(scope["headers"]))
        await Response(body)(scope, receive, send)

    async def infer(self, request: Request) -> Response:
        return Response(await request.body())

    def refused(self, status: int) -> None:
        self.responses[status] += 1

    def __post_init__(self) -> None:
        entrance = Entrance(self.app, self.infer, Problems(logs.logger("test")), self.responses, None)
        self.server = HttpServer(
            entrance, "127.0.0.1", 0, drain_timeout_s=5, tls=self.tls, limits=self.limits, refused=self.refused
        )

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


async def drip(client: Client, octets: bytes, every_s: float = 0.05) -> None:
    """Sends byte after byte, until the other side has had enough."""
    for at in range(len(octets)):
        client.send(octets[at : at + 1])
        await asyncio.sleep(every_s)


SILENT: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "empty lines": (b"\r\n\r\n", 0),
    "many empty lines": (b"\r\n" * 9000, 0),
    "half a line": (b"GET / HT", 408),
    "half a head": (GET[:-2], 408),
    "half a head after a request": (GET + GET[:20], 200),
    "no body": (HEAD % 5, 408),
    "half a body": (HEAD % 5 + b"ab", 408),
    "half a chunk": (CHUNKED + b"5\r\nab", 408),
    "a chunk without a last": (CHUNKED + b"2\r\nab\r\n", 408),
}


async def of_each_silent(service: Service, within_s: float) -> dict[str, int | None]:
    """The status of the answer to each that stops in the middle, all at once; None where it is still connected."""

    async def one(octets: bytes) -> int | None:
        async with service.client() as client:
            client.send(octets)
            try:
                return status_of(await client.closed(within_s))
            except TimeoutError:
                return None

    found = await asyncio.gather(*(one(octets) for octets, _ in SILENT.values()))
    return dict(zip(SILENT, found, strict=True))


async def test_who_stops_in_the_middle_is_let_go() -> None:
    async with Service(SHORT).running() as service:
        expected = {name: status for name, (_, status) in SILENT.items()}
        assert await of_each_silent(service, PATIENCE_S) == expected


async def test_without_the_deadlines_they_would_stay() -> None:
    async with Service(FOREVER).running() as service:
        assert set((await of_each_silent(service, 3 * SHORT.window_s)).values()) == {None}


@pytest.mark.parametrize("octets", [HEAD % 1000 + b"x" * 900, CHUNKED + b"1\r\nx\r\n" * 200, GET[:-2] + b"A: b" * 99])
async def test_a_byte_now_and_then_is_no_progress(octets: bytes) -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        dripping = asyncio.create_task(drip(client, octets))
        assert status_of(await client.closed()) == 408
        dripping.cancel()


async def test_without_the_least_rate_it_would_be() -> None:
    async with Service(replace(SHORT, window_bytes=1)).running() as service, service.client() as client:
        client.send(HEAD % 20)
        await drip(client, b"x" * 20)
        assert await client.answer() == (200, b"x" * 20)


async def test_a_large_body_on_a_slow_line_is_read_to_its_end() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 30_000)
        for _ in range(30):  # for 1.5 s, at ten times the least rate
            client.send(b"x" * 1000)
            await asyncio.sleep(0.05)
        assert await client.answer() == (200, b"x" * 30_000)


async def test_a_slow_answer_is_nobodys_slowness() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 2).replace(b"/echo", b"/held") + b"ab")
        await asyncio.sleep(2 * SHORT.window_s)
        service.held.set()
        assert await client.answer() == (200, b"ab")


async def test_a_loop_that_was_held_up_reads_before_it_judges() -> None:
    """The bytes lay in the socket all the time: their sender is not to blame."""
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 2 + b"a")
        await asyncio.sleep(0.1)
        client.send(b"b")
        await asyncio.sleep(0)
        time.sleep(2 * SHORT.window_s)  # noqa: ASYNC251 - that is what holds it up
        assert await client.answer() == (200, b"ab")


async def test_an_idle_connection_is_kept_and_then_closed() -> None:
    async with Service(replace(SHORT, idle_s=1.0)).running() as service, service.client() as client:
        client.send(GET)
        assert (await client.answer())[0] == 200
        await asyncio.sleep(3 * SHORT.head_s)
        client.send(GET)
        assert (await client.answer())[0] == 200
        assert await client.closed() == b""


LONG = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: %b\r\n\r\n"


@pytest.mark.parametrize("size", [17 << 10, 200 << 10, 5 << 20])
@pytest.mark.parametrize("piece", [1000, 1 << 30])
async def test_a_long_head_is_refused_while_it_arrives(size: int, piece: int) -> None:
    octets = LONG % (b"a" * size)
    async with Service(SHORT).running() as service, service.client() as client:
        for at in range(0, len(octets), piece):
            client.send(octets[at : at + piece])
            await asyncio.sleep(0)
        answer = await client.closed()
        assert status_of(answer) == 431
        assert answer.endswith(b'{"error":"the head is larger than 16384 bytes or 100 fields"}')
        assert service.responses == {431: 1}


MANY = b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 110 + b"\r\n"


@pytest.mark.parametrize("octets", [MANY, MANY[:-2], b"GET /" + b"x" * 17_000, b"X" * 17_000])
async def test_other_heads_without_measure(octets: bytes) -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(octets)
        assert status_of(await client.closed()) in (400, 431)


async def test_a_long_head_behind_another_request_is_no_request() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 2 + b"ab" + LONG % (b"a" * 40_000))
        assert (await client.answer()) == (200, b"ab")
        assert status_of(await client.closed()) in (0, 431)
        assert len(service.seen) == 1


async def test_the_limits_themselves_are_allowed() -> None:
    fields = b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 100 + b"\r\n"
    for octets in (fields, LONG % (b"a" * (16_000)), HEAD % 100_000 + b"b" * 100_000):
        async with Service(SHORT).running() as service, service.client() as client:
            client.send(octets)
            assert (await client.answer())[0] == 200


async def test_without_the_limit_a_long_head_would_be_read() -> None:
    async with Service(replace(SHORT, head_bytes=1 << 30)).running() as service, service.client() as client:
        client.send(LONG % (b"a" * (5 << 20)))
        assert (await client.answer())[0] == 200


FLOODS: dict[str, bytes] = {
    "tiny chunks": CHUNKED + b"1\r\nx\r\n" * 200_000,
    "long extensions": CHUNKED + b"".join(b"1;" + b"e" * 8000 + b"\r\nx\r\n" for _ in range(50)),
    "one endless extension": CHUNKED + b"1;" + b"e" * 1_000_000,
    "trailers without end": CHUNKED + b"0\r\n" + b"t: v\r\n" * 100_000,
    "one endless trailer": CHUNKED + b"0\r\nt: " + b"v" * 1_000_000,
}


async def test_framing_that_outweighs_its_body_is_refused() -> None:
    async with Service(SHORT).running() as service:
        for octets in FLOODS.values():
            async with service.client() as client:
                client.send(octets)
                await client.closed()
        assert service.seen == []
        assert sum(service.responses.values()) == len(FLOODS)
        assert service.responses.keys() <= {400, 431}


async def test_without_that_rule_it_would_be_a_body() -> None:
    async with Service(replace(FOREVER, framing_bytes=1 << 30)).running() as service, service.client() as client:
        client.send(FLOODS["tiny chunks"] + b"0\r\n\r\n")
        assert await client.answer() == (200, b"x" * 200_000)


async def test_chunks_of_a_usual_size_are_no_flood() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(CHUNKED + b"a\r\n0123456789\r\n" * 50_000 + b"0\r\nx-late: 1\r\n\r\n")
        assert await client.answer() == (200, b"0123456789" * 50_000)
        assert b"x-late" not in service.seen[0]  # a trailer is no header


async def test_a_flood_of_pipelined_requests_is_bounded() -> None:
    held = GET.replace(b"GET /", b"GET /held")
    async with Service(FOREVER).running() as service, service.client() as client:
        client.send(held)
        await asyncio.sleep(0.1)
        client.send(GET * 100_000)
        await asyncio.sleep(0.3)
        service.held.set()
        answers = await client.closed()
        assert 0 < answers.count(b"HTTP/1.1 200") <= FOREVER.pipelined + 2


async def test_some_pipelined_requests_are_answered_in_their_order() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(b"".join(HEAD % 3 + b"%03d" % number for number in range(100)))
        assert [await client.answer() for _ in range(100)] == [(200, b"%03d" % number) for number in range(100)]


async def test_a_body_behind_a_request_that_runs_is_not_read_ahead() -> None:
    size = 50 << 20
    async with Service(replace(FOREVER, window_bytes=0)).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/held"))
        await asyncio.sleep(0.1)
        client.send(HEAD % size + bytes(size))
        await asyncio.sleep(0.5)
        assert client.writer.transport.get_write_buffer_size() > size // 2
        service.held.set()


GARBAGE: dict[str, bytes] = {
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30),
    "nul": bytes(1000),
    "random": os.urandom(3000),
    "line": b"HELO there\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length is none": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "length overflows": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "chunk size is none": CHUNKED + b"xyz\r\n",
    "chunk size overflows": CHUNKED + b"fffffffffffffffffff\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "name with nul": b"GET / HTTP/1.1\r\nHo\0st: x\r\n\r\n",
    "high bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
}


async def test_what_is_no_http_gets_one_short_answer_at_most(caplog: pytest.LogCaptureFixture) -> None:
    async with Service(SHORT).running() as service:

        async def one(octets: bytes) -> bytes:
            async with service.client() as client:
                client.send(octets)
                return await client.closed()

        for name, answer in zip(GARBAGE, await asyncio.gather(*map(one, GARBAGE.values())), strict=True):
            assert status_of(answer) in (0, 200, 400, 408), name
            assert len(answer) < 1000
    told = [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert [record.msg for record in told if record.levelname != "INFO"] == []


async def test_without_that_limit_there_would_be_room() -> None:
    async with Service(FOREVER).running() as service, service.client(), service.client(), service.client() as last:
        for client in (last, last):
            client.send(GET)
            assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    ("octets", "status"), [(GET[:-2], 408), (HEAD % 5 + b"ab", 408), (b"", 0), (b"GET /" + b"x" * 17_000, 431)]
)
async def test_over_tls_they_are_the_same(tmp_path: Path, octets: bytes, status: int) -> None:
    pair = make_pair(tmp_path)
    context = Certificate(pair.chain, pair.key, logs.logger("test")).context
    async with Service(SHORT, context).running() as service, service.client() as client:
        client.send(octets)
        assert status_of(await client.closed()) == status


async def test_no_more_connections_than_there_is_room_for() -> None:
    async with Service(replace(FOREVER, connections=2)).running() as service:
        async with service.client() as one, service.client() as two:
            for client in (one, two):
                client.send(GET)
                assert (await client.answer())[0] == 200
            async with service.client() as third:
                third.send(GET)
                answer = await third.closed()
                assert status_of(answer) == 503
                assert b"Retry-After: 1\r\n" in answer
            one.send(GET)
            assert (await one.answer())[0] == 200
        await asyncio.sleep(0.2)


async def test_who_does_not_take_the_answer_is_cut() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        for _ in range(100):
            await asyncio.sleep(0.1)
            if not service.server._server.server_state.connections:
                break
        assert not service.server._server.server_state.connections


async def test_who_takes_it_slowly_gets_all_of_it() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/large"))
        got = 0
        while got < 30 << 20:
            got += len(await client.reader.read(1 << 20))
            await asyncio.sleep(0.005)


async def test_a_refused_client_that_sends_on_is_let_go_after_a_while() -> None:
    async with Service(replace(SHORT, linger_s=0.1)).running() as service, service.client() as client:
        client.send(b"no http at all\r\n\r\n")
        assert status_of(await client.closed()) == 400  # the server has said all that it will
        async with asyncio.timeout(PATIENCE_S):
            while len(service.server._server.server_state.connections):
                client.send(b"x")
                await asyncio.sleep(0.02)


async def test_who_was_there_before_the_server_answered_is_timed_like_others() -> None:
    """The socket listens from the moment it is made: the first ones are accepted together with the start."""
    service = Service(Limits(look_s=0.01))
    async with service.client() as early, service.running():
        await asyncio.sleep(0.2)  # some looks
        early.send(HEAD % 4 + b"good")
        assert await early.answer() == (200, b"good")
