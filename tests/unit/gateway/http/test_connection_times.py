"""What a client meets that sends too slowly (promise H1). Over real sockets with short limits.

Each ends with a good request, and has a negative control: the same deed where that limit is out of reach.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from service.gateway.http.limits import Limits
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.http.hostile import (
    CHUNKED,
    FOREVER,
    GET,
    HEAD,
    PATIENCE_S,
    SHORT,
    Client,
    Service,
    is_read,
    status_of,
)


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


async def test_who_began_quickly_and_then_stops_is_let_go() -> None:
    async with Service(SHORT).running() as service, service.client() as client:
        client.send(HEAD % 30_000 + b"x" * 20_000)
        assert status_of(await client.closed()) == 408


async def test_a_body_that_the_server_does_not_read_yet_is_nobodys_slowness() -> None:
    size = 5 << 20
    async with Service(SHORT).running() as service, service.client() as client:
        client.send((HEAD % 0).replace(b"/echo", b"/held"))
        await is_read()
        client.send(HEAD % size + bytes(size))
        await asyncio.sleep(3 * SHORT.window_s)
        service.held.set()
        assert await client.answer() == (200, b"")
        assert await client.answer() == (200, bytes(size))


async def test_who_sends_no_http_behind_a_request_still_gets_the_answer_to_that_however_late_it_is() -> None:
    async with Service(replace(SHORT, linger_s=0.1)).running() as service, service.client() as client:
        client.send((HEAD % 2).replace(b"/echo", b"/held") + b"ab")
        await is_read()
        client.send(b"no http at all\r\n\r\n")
        await asyncio.sleep(0.4)
        service.held.set()
        assert await client.answer() == (200, b"ab")
        assert await client.closed() == b""


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
        service.looks.also_s = 2 * SHORT.window_s
        time.sleep(2 * SHORT.window_s)  # noqa: ASYNC251 - that is what holds it up
        assert await client.answer() == (200, b"ab")


@pytest.mark.parametrize("octets", [GET, (HEAD % 2).replace(b"/echo", b"/v2/models/m/infer") + b"ab"])
async def test_an_idle_connection_is_kept_and_then_closed(octets: bytes) -> None:
    async with Service(replace(SHORT, idle_s=1.0)).running() as service, service.client() as client:
        client.send(octets)
        assert (await client.answer())[0] == 200
        await asyncio.sleep(3 * SHORT.head_s)
        client.send(octets)
        assert (await client.answer())[0] == 200
        assert await client.closed() == b""


async def test_who_was_there_before_the_server_answered_is_timed_like_others() -> None:
    """The socket listens from the moment it is made: the first ones are accepted together with the start."""
    service = Service(Limits(look_s=0.01))
    async with service.client() as early, service.running():
        await asyncio.sleep(0.2)  # some looks
        early.send(HEAD % 4 + b"good")
        assert await early.answer() == (200, b"good")


async def test_a_refused_client_that_sends_on_is_let_go_after_a_while() -> None:
    async with Service(replace(SHORT, linger_s=0.1)).running() as service, service.client() as client:
        client.send(b"no http at all\r\n\r\n")
        assert status_of(await client.closed()) == 400  # the server has said all that it will
        async with asyncio.timeout(PATIENCE_S):
            while len(service.server._server.server_state.connections):
                client.send(b"x")
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("octets", "status"), [(GET[:-2], 408), (HEAD % 5 + b"ab", 408), (b"", 0), (b"GET /" + b"x" * 17_000, 431)]
)
async def test_over_tls_they_are_the_same(tmp_path: Path, octets: bytes, status: int) -> None:
    pair = make_pair(tmp_path)
    context = Certificate(pair.chain, pair.key, logs.logger("test")).context
    async with Service(SHORT, context).running() as service, service.client() as client:
        client.send(octets)
        assert status_of(await client.closed()) == status
