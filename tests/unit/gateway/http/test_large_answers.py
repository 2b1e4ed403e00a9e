"""A large answer takes its bytes once while its client takes it, and nothing afterwards. Over real sockets."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.gateway.http import entrance
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair
from tests.unit.gateway.http.hostile import FOREVER, HEAD, PATIENCE_S, Service

MIB = 1 << 20
ANSWER_BYTES = 30 * MIB
LARGE = (HEAD % 0).replace(b"/echo", b"/large")


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    pair = make_pair(tmp_path)
    return Certificate(pair.chain, pair.key, logs.logger("test")).context


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def held_for_one_that_does_not_read(tls: ssl.SSLContext | None) -> int:
    """The most that was held, in bytes, of an answer of `ANSWER_BYTES`."""
    async with Service(FOREVER, tls).running() as service, service.client() as client:
        client.send(HEAD % 4 + b"here")
        assert await client.answer() == (200, b"here")
        before, _ = tracemalloc.get_traced_memory()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(LARGE)
        (connection,) = service.server._server.server_state.connections
        async with asyncio.timeout(PATIENCE_S):
            while not connection.flow.write_paused and service.responses[200] < 2:  # noqa: ASYNC110 - neither has one
                await asyncio.sleep(0.005)
        return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("secure", [False, True])
async def test_one_that_is_not_read_is_held_once(tls: ssl.SSLContext, secure: bool) -> None:
    assert await held_for_one_that_does_not_read(tls if secure else None) < ANSWER_BYTES + 4 * MIB


@pytest.mark.usefixtures("traced")
async def test_control_handed_over_whole_it_would_be_held_twice(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "_PIECE_BYTES", ANSWER_BYTES)
    assert await held_for_one_that_does_not_read(tls) > 2 * ANSWER_BYTES  # and the request counts as answered


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("size_bytes", [(64 << 10) + 1, 256 << 10, (512 << 10) + 1])
async def test_it_arrives_as_it_is(tls: ssl.SSLContext, secure: bool, size_bytes: int) -> None:
    body = bytes(range(251)) * (size_bytes // 251 + 1)
    async with Service(FOREVER, tls if secure else None).running() as service, service.client() as client:
        for _ in range(2):
            client.send(HEAD % size_bytes + body[:size_bytes])
            assert await client.answer() == (200, body[:size_bytes])
