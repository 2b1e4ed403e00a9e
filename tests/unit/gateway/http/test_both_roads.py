"""The same bytes past the parser and through it: one answer, one line in the log, one count; also of broken bytes."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import Rejected
from service.gateway.http import build
from service.gateway.http.exchange import WHOLE
from service.gateway.http.server import HttpServer
from service.gateway.shared_memory import SharedMemory
from tests.support.logs import capture_logs
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable
from tests.unit.gateway.http.hostile import SHORT, Client, Looks

LIMIT_BYTES = 10_000
BEFORE = b"\r\n"  # of which the parser makes nothing, and behind which nobody else looks
X = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
GOOD = orjson.dumps({"id": "a", "inputs": [{**X, "data": [0, 1, 2, 3]}]})
MANY = orjson.dumps({"inputs": [{**X, "shape": [200, 4], "data": list(range(800))}]})
JSON = orjson.dumps(
    {"inputs": [{**X, "parameters": {"binary_data_size": 16}}], "parameters": {"binary_data_output": True}}
)
BINARY = JSON + np.arange(4, dtype=np.float32).tobytes()
OWN = re.compile(rb"(?<=\r\n)date: [^\r]*\r\n|\b[0-9a-f]{8}-[0-9a-f]+\b")
OCTETS = (b"\r", b"\n", b" ", b":", b"\0", b"\x7f", b"\xff", b"\r\n\r\n", b"%2e", b"?", b"9", b"x", b"-", b"\t")
FIELDS = (
    b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b" folded\r\n",
    b"Accept-Encoding: gzip\r\n",
    b"Retort-Timeout-Ms: 9\r\n",
)
SHARE_OF_FIELDS = 0.4
SPLIT = b"Inference-Header-Content-Length: %d\r\n" % len(JSON)


def post(body: bytes, *fields: bytes, path: bytes = b"/v2/models/m/infer", id_: bytes = b"mine") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\nContent-Length: %d\r\n" % (path, id_, len(body))
    return head + b"".join(fields) + b"\r\n" + body


@dataclass
class Road:
    """A server of its own, whose clients come on one of the roads."""

    before: bytes
    port: int
    servable: FakeServable
    responses: Counter[int]
    whole: list[bool]

    async def answers(self, requests: Sequence[bytes]) -> list[bytes]:
        """All that each of these is answered until the connection ends, but for times and ids of the server's own."""

        async def one(octets: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self.before + octets)
            try:
                answer = await Client(reader, writer).closed(within_s=80)  # there are hundreds of them
            finally:
                writer.close()
            return OWN.sub(b"", answer)

        return await asyncio.gather(*map(one, requests))

    async def told(self, requests: Sequence[bytes]) -> dict[str, Any]:
        """What the clients, the log and the counts tell of these requests."""
        with capture_logs() as lines:
            answers = await self.answers(requests)
        for line in lines:
            line.pop("ms", None)
            line["request_id"] = OWN.sub(b"", line.get("request_id", "").encode())
        statistics = self.servable.statistics
        return {
            "answers": answers,
            "lines": sorted(map(repr, lines)),
            "responses": self.responses,
            "successes": statistics.success.count,
            "failures": {reason: duration.count for reason, duration in statistics.failures.items()},
            "inputs": sorted(repr(request) for request, _, _ in self.servable.seen),
        }


@asynccontextmanager
async def road(before: bytes, **more: Any) -> AsyncIterator[Road]:
    servable, responses, whole = FakeServable(), Counter[int](), list[bool]()
    app: ASGIApp = build(
        cast("Any", FakeCatalog(servable)),
        cast("Any", FakeHealth()),
        max_body_bytes=LIMIT_BYTES,
        access_log=True,
        responses=responses,
        **more,
    )

    async def seen(scope: Scope, receive: Receive, send: Send) -> None:
        whole.append(WHOLE in scope)
        await app(scope, receive, send)

    def refused(status: int) -> None:
        responses[status] += 1

    server = HttpServer(seen, "127.0.0.1", 0, drain_timeout_s=5, limits=SHORT, refused=refused)
    Looks(server)
    await server.start()
    try:
        yield Road(before, server.port, servable, responses, whole)
    finally:
        await server.stop()


REQUESTS: dict[str, bytes] = {
    "json": post(GOOD),
    "binary": post(BINARY, SPLIT),
    "a version": post(GOOD, path=b"/v2/models/m/versions/1/infer"),
    "no such model": post(GOOD, path=b"/v2/models/none/infer"),
    "no such version": post(GOOD, path=b"/v2/models/m/versions/2/infer"),
    "dots": post(GOOD, path=b"/v2/models/../infer"),
    "no body": post(b""),
    "no json": post(b"{"),
    "another shape": post(GOOD.replace(b"[1,4]", b"[4,1]")),
    "too large": post(b" " * (LIMIT_BYTES + 1)),
    "as large as allowed": post(b" " * LIMIT_BYTES),
    "a length that is none": post(BINARY, b"Inference-Header-Content-Length: x\r\n"),
    "two lengths of the json": post(BINARY, b"Inference-Header-Content-Length: 1\r\n", SPLIT),
    "compressed": post(gzip.compress(GOOD), b"Content-Encoding: gzip\r\n"),
    "not compressed": post(GOOD, b"Content-Encoding: gzip\r\n"),
    "an answer that is compressed": post(MANY, b"Accept-Encoding: gzip\r\n"),
    "a deadline": post(GOOD, b"Retort-Timeout-Ms: 5000\r\n"),
    "a deadline of 0": post(GOOD, b"Retort-Timeout-Ms: 0\r\n"),
    "a page of another site": post(GOOD, b"Origin: http://x\r\n"),
    "a key that nobody asks for": post(GOOD, b"Authorization: Bearer x\r\n"),
    "a value with a tab": post(GOOD, b"X-A: a\tb\r\n"),
    "a value beyond ascii": post(GOOD, b"X-A: \xe4\r\n"),
    "an empty value": post(GOOD, b"X-A:\r\n"),
    "spaces around a value": post(GOOD, b"X-A:   a  \r\n"),
}


async def test_both_roads_tell_the_same() -> None:
    async with road(b"") as quick, road(BEFORE) as parsed:
        told, expected = await quick.told([*REQUESTS.values()]), await parsed.told([*REQUESTS.values()])
    assert dict(zip(REQUESTS, told.pop("answers"), strict=True)) == dict(
        zip(REQUESTS, expected.pop("answers"), strict=True)
    )
    assert told == expected
    assert quick.whole == [True] * len(REQUESTS)
    assert parsed.whole == [False] * len(REQUESTS)
    assert told["responses"].total() == len(told["lines"]) == len(REQUESTS)


async def test_so_they_do_of_what_goes_wrong() -> None:
    async with road(b"") as quick, road(BEFORE) as parsed:
        quick.servable.error = parsed.servable.error = ValueError("secret")
        told = await quick.told([post(GOOD)])
        assert told == await parsed.told([post(GOOD)])
        assert told["responses"][500] == 1


@pytest.mark.parametrize(("size_bytes", "shares"), [(5000, False), (10, True)])
async def test_while_nobody_is_let_in_what_takes_long_to_read_is_refused_unread(size_bytes: int, shares: bool) -> None:
    """30 kB of JSON took more than its refusal: half as many others were served in a flood of it."""
    async with road(b"", shared_memory=SharedMemory(shares, LIMIT_BYTES)) as quick:
        quick.servable.full = Rejected("the model is overloaded", 3)
        (answer,) = await quick.answers([post(b"x" * size_bytes)])
        assert answer.startswith(b"HTTP/1.1 503")
        assert (quick.whole, quick.servable.statistics.failures["REJECTED"].count) == ([True], 1)


def mutants(seed: int, count: int) -> list[bytes]:
    """Requests with something wrong in their heads."""
    chosen = random.Random(seed)
    wholes, found = [post(GOOD), post(BINARY, SPLIT)], []
    for _ in range(count):
        octets = bytearray(chosen.choice(wholes))
        for _ in range(chosen.choice([1, 1, 1, 2])):
            at = chosen.randrange(octets.index(b"\r\n\r\n") + 1)
            if chosen.random() < SHARE_OF_FIELDS:
                at = octets.rfind(b"\n", 0, at) + 1
                octets[at:at] = chosen.choice(FIELDS)
            else:
                octets[at : at + chosen.randint(0, 1)] = chosen.choice(OCTETS)
        found.append(bytes(octets))
    return found


async def test_so_they_do_of_broken_heads() -> None:
    requests = mutants(0, 400)
    async with road(b"") as quick, road(BEFORE) as parsed:
        told, expected = await quick.told(requests), await parsed.told(requests)
    for octets, answer, other in zip(requests, told.pop("answers"), expected.pop("answers"), strict=True):
        assert answer == other, octets
    assert told == expected
    assert 20 < sum(quick.whole) < len(requests) - 20
    assert not any(parsed.whole)
    assert len(told["responses"] - Counter({200: 1000})) > 1


async def test_control_a_head_that_is_read_in_another_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.gateway.http.heads._MORE", frozenset[bytes]())
    requests = [post(GOOD, b"Expect: 100-continue\r\n")]
    async with road(b"") as quick, road(BEFORE) as parsed:
        assert await quick.answers(requests) != await parsed.answers(requests)
