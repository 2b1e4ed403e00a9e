"""What is taken from the budget of bytes in flight is given back, whatever becomes of a request (promise H8).

Clients of a real server do what chance tells them: they send requests of every kind in pieces, leave in the middle,
rest for too long, read nothing, send what is no HTTP, and are there still when the server stops.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from service.core.contract import InferRequest, InferResponse
from service.core.deadline import Deadline
from service.core.errors import RunFailed
from service.gateway.budget import ByteBudget, Share
from service.gateway.http import build
from service.gateway.http.limits import Limits
from service.gateway.http.server import HttpServer
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable
from tests.unit.gateway.http.hostile import Looks

LIMITS = Limits(head_s=0.15, window_s=0.2, window_bytes=1000, idle_s=0.3, linger_s=0.1, pipelined=3, look_s=0.02)
LIMIT_BYTES, BUDGET_BYTES = 600_000, 3_000_000
CLIENTS, STEPS, PATIENCE_S = 80, 6, 90.0
PATH = b"/v2/models/m/infer"


def described(rows: int, **more: Any) -> bytes:
    return orjson.dumps({"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", **more}]})


def post(body: bytes, *fields: bytes, path: bytes = PATH, length: int | None = None) -> bytes:
    head = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % (len(body) if length is None else length)]
    return b"\r\n".join([*head, *fields, b"", b""]) + body


def binary(rows: int) -> bytes:
    head = described(rows, parameters={"binary_data_size": rows * 16})
    return post(head + bytes(rows * 16), b"Inference-Header-Content-Length: %d" % len(head))


def chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1000], body[1000:]) if part)
    return b"POST " + PATH + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + end


def requests() -> dict[str, bytes]:
    small, wide = described(1, data=[0, 1, 2, 3]), described(5000, data=[0.5] * 20_000)
    return {
        "small": post(small),
        "wide": post(wide),
        "binary": binary(2),
        "large binary": binary(30_000),
        "slow": post(small, b"X-Slow: 1"),
        "predict": post(orjson.dumps({"instances": [[0, 1, 2, 3]] * 4000}), path=b"/v1/models/m:predict"),
        "compressed": post(gzip.compress(wide), b"Content-Encoding: gzip"),
        "a bomb": post(gzip.compress(bytes(LIMIT_BYTES * 4)), b"Content-Encoding: gzip"),
        "not compressed": post(wide, b"Content-Encoding: gzip"),
        "chunked": chunked(wide),
        "a chunk that is none": chunked(wide, b"none\r\n"),
        "wrong": post(wide[:-1]),
        "nowhere": post(wide, path=b"/nowhere"),
        "no such model": post(wide, path=b"/v2/models/none/infer"),
        "large and nowhere": binary(30_000).replace(PATH, b"/nowhere"),
        "announced too large": post(wide, length=LIMIT_BYTES + 1),
        "expected first": post(wide, b"Expect: 100-continue"),
        "the last": post(wide, b"Connection: close"),
        "another protocol": post(wide, b"Connection: Upgrade", b"Upgrade: h2c"),
        "a tunnel": post(wide).replace(b"POST", b"CONNECT"),
        "no HTTP": b"\x16\x03\x01\x02\x00" * 100,
        "load": post(orjson.dumps({"parameters": {"file:1/model.onnx": "AAAA"}}), path=b"/v2/repository/models/m/load"),
    }


REQUESTS = requests()


class Moody(FakeServable):
    """A version that takes its time, or fails, as chance has it."""

    def __init__(self, chance: random.Random, look: Callable[[], None]) -> None:
        super().__init__()
        self._chance = chance
        self._look = look

    async def infer(self, request: InferRequest, deadline: Deadline, *, origin: str = "") -> InferResponse:
        self._look()
        self.wait_s = self._chance.choice([0, 0, 0, 0.01, 0.3])
        self.error = self._chance.choice([None, None, None, None, RunFailed("it failed")])
        return await super().infer(request, deadline, origin=origin)


class Walk:
    """A server with a budget, and clients whose deeds a seed decides."""

    def __init__(self, seed: int, tls: ssl.SSLContext | None) -> None:
        self._chance = random.Random(seed)
        self._secure = tls is not None
        self.budget = ByteBudget(BUDGET_BYTES)
        self.most_bytes = 0
        self.responses: Counter[int] = Counter()
        self.servable = Moody(self._chance, self._look)
        app = build(
            cast("Any", FakeCatalog(self.servable)),
            cast("Any", FakeHealth()),
            max_body_bytes=LIMIT_BYTES,
            budget=self.budget,
            responses=self.responses,
        )
        self.server = HttpServer(
            app, "127.0.0.1", 0, drain_timeout_s=1, tls=tls, limits=LIMITS, refused=self._count_refused
        )
        Looks(self.server)

    def _look(self) -> None:
        self.most_bytes = max(self.most_bytes, self.budget.used_bytes)

    def _count_refused(self, status: int) -> None:
        self.responses[status] += 1

    async def client(self, begins_s: float) -> None:
        """One connection, from its begin to whatever ends it."""
        await asyncio.sleep(begins_s)
        trusting = ssl._create_unverified_context() if self._secure else None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port, ssl=trusting, limit=4096)
        except OSError:
            return  # the server stops
        reading = asyncio.create_task(self._read(reader))
        try:
            for _ in range(self._chance.randint(1, STEPS)):
                if not await self._send(writer):
                    break
        except (OSError, RuntimeError):
            pass  # the server ended it; RuntimeError is uvloop's word for that
        if self._chance.random() < 0.5:  # the others wait for the server to end it
            writer.transport.abort()
        await reading
        writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        if self._chance.random() < 0.15:
            return
        try:
            while await reader.read(65536):
                pass
        except OSError:
            return

    async def _send(self, writer: asyncio.StreamWriter) -> bool:
        """Sends a request, or what comes of it; whether there is anything to be done after that."""
        names = self._chance.choices([*REQUESTS], k=self._chance.choice([1, 1, 1, 2, 6]))
        octets = b"".join(REQUESTS[name] for name in names)
        if self._chance.random() < 0.25:
            octets = octets[: self._chance.randrange(len(octets))]
        cuts = sorted(self._chance.randrange(len(octets) + 1) for _ in range(self._chance.choice([0, 0, 1, 3])))
        for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
            writer.write(octets[begin:end])
            await writer.drain()
            await asyncio.sleep(self._chance.choice([0, 0.001, 0.01, 0.25]))
        ends: list[Callable[[], Any]] = [writer.transport.abort, writer.close]
        if not self._secure:
            ends.append(writer.write_eof)
        if self._chance.random() < 0.15:
            self._chance.choice(ends)()
            return False
        return True


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    pair = make_pair(tmp_path)
    return Certificate(pair.chain, pair.key, logs.logger("test")).context


async def walked(seed: int, tls: ssl.SSLContext | None) -> Walk:
    """The walk, once its server has stopped: when half of the clients have ended, and others are in the midst of it."""
    walk = Walk(seed, tls)
    await walk.server.start()
    clients = [asyncio.create_task(walk.client(number / CLIENTS)) for number in range(CLIENTS)]
    async with asyncio.timeout(PATIENCE_S):
        for ended in asyncio.as_completed(clients[: CLIENTS // 2]):
            await ended
        await walk.server.stop()
        await asyncio.gather(*clients)
    return walk


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("secure", [False, True])
async def test_all_of_it_is_given_back(tls: ssl.SSLContext, seed: int, secure: bool) -> None:
    walk = await walked(seed, tls if secure else None)
    assert walk.budget.used_bytes == 0
    assert 0 < walk.most_bytes <= BUDGET_BYTES
    assert len(+walk.responses) > 5
    assert walk.servable.leases == 0


async def test_control_what_is_not_given_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Share, "end", lambda _share: None)
    assert (await walked(0, None)).budget.used_bytes > 0
