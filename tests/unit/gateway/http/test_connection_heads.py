"""What a client meets whose head is without measure (promise H2). Over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.gateway.http.hostile import FOREVER, GET, HEAD, SHORT, Service, is_read, status_of

LONG = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: %b\r\n\r\n"


@pytest.mark.parametrize("size", [17 << 10, 200 << 10, 5 << 20])
@pytest.mark.parametrize("piece", [1000, 1 << 30])
async def test_a_long_head_is_refused_while_it_arrives(size: int, piece: int) -> None:
    octets = LONG % (b"a" * size)
    async with Service(replace(SHORT, linger_s=20)).running() as service, service.client() as client:
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


async def test_the_bytes_of_a_body_are_none_of_the_head_behind_it() -> None:
    async with Service(FOREVER).running() as service, service.client() as client:
        client.send(HEAD % 20_000 + b"x" * 20_000 + GET[:-2])
        await is_read()
        client.send(GET[-2:])
        assert await client.answer() == (200, b"x" * 20_000)
        assert await client.answer() == (200, b"")


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
