"""What ends a connection: each answer reaches who asked, nobody gets two, and no request pays for one behind it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.http.connection import Connection
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.http.hostile import CHUNKED, GET, HEAD, PATIENCE_S, SHORT, Service, is_read, status_of

EARLY = (HEAD % (8 << 20)).replace(b"/echo", b"/early").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
# Which the parser lets through, and what splits it into its parts does not.
BROKEN = (b"CONNECT a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://host HTTP/1.1\r\nHost: x\r\n\r\n")
OFFER = b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


def sends_all_then_reads(port: int, octets: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What a simple client gets: it looks at an answer once all of its request is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
        connection = plain if tls is None else tls.wrap_socket(plain)
        connection.sendall(octets)
        with connection:
            return connection.recv(65536)


@pytest.mark.parametrize("secure", [False, True])
async def test_who_is_refused_before_its_body_ends_can_send_all_of_it_and_read_why(
    tmp_path: Path, secure: bool
) -> None:
    pair = make_pair(tmp_path)
    tls = Certificate(pair.chain, pair.key, logs.logger("test")).context if secure else None
    trusting = ssl.create_default_context(cafile=pair.chain) if secure else None
    if trusting is not None:
        trusting.check_hostname = False
    async with Service(SHORT, tls).running() as service:
        octets = EARLY + bytes(8 << 20)
        answer = await asyncio.to_thread(sends_all_then_reads, service.server.port, octets, trusting)
        assert status_of(answer) == 413


async def test_without_a_close_in_stages_it_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "end", lambda connection: connection.transport.close())
    async with Service(SHORT).running() as service:
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(sends_all_then_reads, service.server.port, EARLY + bytes(8 << 20))


@pytest.mark.parametrize("path", [b"/held", b"/v2/models/held/infer"])
async def test_nor_does_who_sends_a_large_head_behind_its_request_lose_the_answer_to_that(path: bytes) -> None:
    async with Service(SHORT).running() as service:

        def sends_all_then_reads() -> bytes:
            with socket.create_connection(("127.0.0.1", service.server.port), timeout=PATIENCE_S) as connection:
                connection.sendall((HEAD % 2).replace(b"/echo", path) + b"ab")
                time.sleep(0.05)  # so that it comes alone, and goes past the parser where it may
                connection.sendall(b"GET /" + bytes(100_000))
                time.sleep(0.05)
                loop.call_soon_threadsafe(service.held.set)
                connection.sendall(bytes(8 << 20))
                return connection.recv(65536)

        loop = asyncio.get_running_loop()
        assert status_of(await asyncio.to_thread(sends_all_then_reads)) == 200
        assert service.responses == {200: 1}


async def test_a_handler_that_fails_in_the_middle_of_its_answer_ends_the_connection() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD.replace(b"/echo", b"/fails") % 9)  # whose body it would wait for
        assert (await client.closed()).endswith(b"half")
        async with asyncio.timeout(PATIENCE_S):
            while len(service.server._server.server_state.connections):
                client.send(b"x")
                await asyncio.sleep(0.02)


async def test_one_that_sends_on_for_ever_is_let_go() -> None:
    async with Service(replace(SHORT, linger_s=0.1)).running() as service, service.client() as client:
        client.send(EARLY)
        assert status_of(await client.closed()) == 413  # the server has said all that it will
        async with asyncio.timeout(PATIENCE_S):
            while len(service.server._server.server_state.connections):
                client.send(b"x" * 100)
                await asyncio.sleep(0.02)


async def test_a_connection_at_rest_keeps_nothing_of_a_body_that_nobody_read() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD.replace(b"/echo", b"/early") % 100_000 + bytes(100_000))
        assert await client.answer() == (413, b"early")
        (connection,) = service.server._server.server_state.connections
        assert len(connection.cycle.body) == 0


async def test_a_body_that_breaks_behind_its_answer_gets_no_other() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(CHUNKED.replace(b"/echo", b"/early") + b"2\r\nab\r\n")
        assert await client.answer() == (413, b"early")
        client.send(b"no chunk\r\n")
        assert await client.closed() == b""
        assert service.responses == {413: 1}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_request_does_not_pay_for_the_one_behind_it(broken: bytes) -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 2 + b"ab" + broken)
        assert await client.answer() == (200, b"ab")
        assert await client.closed() == b""
        assert service.responses == {200: 1}


@pytest.mark.parametrize("broken", BROKEN)
async def test_alone_it_is_refused(broken: bytes) -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(broken)
        assert status_of(await client.closed()) in (400, 501)


@pytest.mark.parametrize("cut", [0, len(HEAD % 2) + 1])
async def test_an_offer_in_one_read_with_another_request_ends_the_connection(cut: int) -> None:
    octets = HEAD % 2 + b"ab" + (HEAD % 3).replace(b"\r\n\r\n", b"\r\n" + OFFER) + b"abc" + HEAD % 2 + b"cd"
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(octets[:cut])
        await is_read()
        client.send(octets[cut:])
        assert await client.answer() == (200, b"ab")
        assert status_of(await client.closed()) in (0, 501)
        assert len(service.seen) == 1  # neither an offer without its body, nor what would be read as its head


async def test_control_an_offer_of_its_own_is_passed_over() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 3).replace(b"\r\n\r\n", b"\r\n" + OFFER) + b"abc")
        assert await client.answer() == (200, b"abc")
        client.send(GET)
        assert (await client.answer())[0] == 200
        assert len(service.seen) == 2


async def test_a_body_in_chunks_that_there_is_no_memory_for_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_parser: HttpToolsProtocol, _body: bytes) -> None:
        raise MemoryError

    async with Service(SHORT).running() as service, service.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(HttpToolsProtocol, "on_body", full)
            client.send(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n")
            status, body = await client.answer()
        assert (status, b"no more memory" in body) == (503, True)
