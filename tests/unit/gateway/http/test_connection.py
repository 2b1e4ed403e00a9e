"""Offers of another protocol are ignored, and cost a request nothing; a body is never looked into."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.gateway.http.offers import Offers
from service.gateway.http.server import HttpServer
from tests.unit.gateway.http.hostile import is_read

OFFERS = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
BODY = b'{"text": "\r\nUpgrade: h2c"}'


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await Response(body, headers={"x-length": str(len(body))})(scope, receive, send)


def post(headers: bytes, body: bytes = BODY) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (headers, len(body), body)


async def exchange(*pieces: bytes, answers: int = 1) -> list[bytes]:
    """The bodies of the answers to what is sent piece by piece over one connection to a real server."""
    server = HttpServer(echo, "127.0.0.1", 0, drain_timeout_s=5)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.closing(writer):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await is_read()
            bodies = []
            async with asyncio.timeout(20):
                for _ in range(answers):
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200"), head
                    bodies.append(await reader.readexactly(int(head.split(b"x-length: ")[1].split(b"\r\n")[0])))
            return bodies
    finally:
        await server.stop()


@pytest.mark.parametrize("headers", [b"", OFFERS, OFFERS.lower(), OFFERS.upper()])
async def test_an_offer_of_another_protocol_costs_a_request_nothing(headers: bytes) -> None:
    assert await exchange(post(headers)) == [BODY]


async def test_the_connection_goes_on_after_an_offer() -> None:
    first = post(OFFERS)
    assert await exchange(first, post(b"", b"second"), post(OFFERS, b"third"), answers=3) == [BODY, b"second", b"third"]


@pytest.mark.parametrize("at", [20, 62, 63, 66, 70, 71, 72, 100])
async def test_an_offer_that_comes_in_two_reads_costs_no_more(at: int) -> None:
    octets = post(OFFERS)
    assert octets.index(b"Upgrade: h2c") == 63
    assert await exchange(octets[:at], octets[at:] + post(b"", b"next"), answers=2) == [BODY, b"next"]


async def test_a_head_that_began_behind_a_body_ends_where_it_ends() -> None:
    """What follows its empty line is a body, whatever that looks like."""
    first, second = post(b"", b"first"), post(b"")
    end = second.index(b"\r\n\r\n")
    pieces = first[:-3], first[-3:] + second[:end], second[end:]
    assert await exchange(*pieces, answers=2) == [b"first", BODY]


async def test_without_a_disguise_it_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Offers, "hidden", lambda _self, data: data)
    with pytest.raises(AssertionError, match="501 Not Implemented"):
        await exchange(post(OFFERS))


async def test_head_is_answered_without_the_body_and_the_connection_goes_on() -> None:
    server = HttpServer(echo, "127.0.0.1", 0, drain_timeout_s=5)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(20):
        writer.write(post(b"").replace(b"POST", b"HEAD", 1))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(post(b"", b"next"))
        following = await reader.readuntil(b"next")
    assert b"x-length: %d\r\n" % len(BODY) in head
    assert following.startswith(b"HTTP/1.1 200")
    writer.close()
    await server.stop()


async def test_a_body_that_comes_by_itself_is_left_alone() -> None:
    head, _, body = post(OFFERS).partition(b"\r\n\r\n")
    assert await exchange(head + b"\r\n\r\n", body[:5], body[5:] + post(b"", b"next"), answers=2) == [BODY, b"next"]
