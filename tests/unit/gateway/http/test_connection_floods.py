"""What a client meets that sends too much, or what is no HTTP (promises H2, H9). Over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from tests.unit.gateway.http.hostile import CHUNKED, FOREVER, GET, HEAD, SHORT, Service, status_of

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
        assert answers.count(b"HTTP/1.1 200") == 1 + FOREVER.pipelined


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
            assert status_of(answer) in (0, 200, 400, 408, 501), name
            assert len(answer) < 1000
    told = [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert [record.msg for record in told if record.levelname != "INFO"] == []


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


async def test_without_that_limit_there_would_be_room() -> None:
    async with Service(FOREVER).running() as service, service.client(), service.client(), service.client() as last:
        for client in (last, last):
            client.send(GET)
            assert (await client.answer())[0] == 200
