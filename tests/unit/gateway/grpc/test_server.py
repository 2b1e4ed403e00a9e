"""What grpc itself logs: only what is news. Who connects and says or calls nothing is let go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc  # type: ignore[import-untyped]

from service.gateway.grpc.server import GrpcServer, _is_news
from tests.support.http2 import PREFACE, SETTINGS, frame
from tests.support.waiting import PATIENCE_S
from tests.unit.serving.house import until

SETTLED = PREFACE + frame(SETTINGS) + frame(SETTINGS, 1)
SILENT = {"nothing": b"", "half a preface": PREFACE[:16], "no settings": PREFACE}


async def still_open(within_s: float, silent: Mapping[str, bytes] = SILENT, closed_first: int = 0) -> list[str]:
    """Which of these connections a server has not closed in time, which begins once so many were closed."""
    stopping = asyncio.Event()
    server = GrpcServer(
        lambda _: None,
        (),
        "127.0.0.1",
        0,
        max_body_bytes=1000,
        drain_timeout_s=1,
        stopping=stopping,
    )
    await server.start()

    async def until_closed(octets: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(octets)
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    tasks = {asyncio.create_task(until_closed(octets)): name for name, octets in silent.items()}
    try:
        await until(lambda: sum(task.done() for task in tasks) >= closed_first)
        _, opened = await asyncio.wait(tasks, timeout=within_s)
        for task in opened:
            task.cancel()
        await asyncio.gather(*opened, return_exceptions=True)
        return [name for task, name in tasks.items() if task in opened]
    finally:
        await server.stop()


LIMIT = "service.gateway.grpc.server.HANDSHAKE_LIMIT_S"


async def test_who_does_not_begin_to_speak_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 0.5)
    assert await still_open(within_s=20) == []


async def test_without_that_time_they_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 60.0)
    assert await still_open(within_s=1.5) == list(SILENT)


IDLE = "service.gateway.grpc.server._IDLE_MS"
CALLS_NOTHING = {"settled": SETTLED}


async def test_who_calls_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IDLE, 500)
    assert await still_open(20, CALLS_NOTHING) == []


async def test_without_that_time_who_calls_nothing_would_stay() -> None:
    assert await still_open(1.5, CALLS_NOTHING) == ["settled"]


CONNECTIONS = "service.gateway.grpc.server._CONNECTIONS_LIMIT"
CROWD = {str(number): SETTLED for number in range(8)}


@pytest.mark.parametrize("limit", [3, 8])
async def test_more_connections_than_the_limit_are_closed(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(CONNECTIONS, limit)
    assert len(await still_open(1.0, CROWD, closed_first=len(CROWD) - limit)) == limit


async def test_a_server_in_a_hurry_waits_for_no_call() -> None:
    asked = asyncio.Event()

    async def never(_request: bytes, _context: object) -> bytes:
        asked.set()
        await asyncio.sleep(60)
        return b""

    def register(bare: Any) -> None:
        methods = {"Never": grpc.unary_unary_rpc_method_handler(never)}
        bare.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", methods),))

    stopping = asyncio.Event()
    server = GrpcServer(register, (), "127.0.0.1", 0, max_body_bytes=1000, drain_timeout_s=60, stopping=stopping)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = channel.unary_unary("/test/Never")(b"")
        await asked.wait()
        stop = asyncio.create_task(server.stop())
        await stopping.wait()
        assert not (await asyncio.wait({stop}, timeout=0.2))[0], "the call has a minute"
        server.hurry()
        async with asyncio.timeout(PATIENCE_S):
            await stop
        assert await call.code() is not grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (cygrpc.ExecuteBatchError("x"), False),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), False),
        (ValueError("x"), True),
    ],
)
def test_what_a_client_does_by_going_or_by_its_metadata_is_no_error(error: Exception, told: bool) -> None:
    record = logging.LogRecord("grpc", logging.ERROR, "", 0, "raised", None, (type(error), error, None))
    assert _is_news(record) is told


def test_lines_without_an_error_are_told() -> None:
    assert _is_news(logging.LogRecord("grpc", logging.WARNING, "", 0, "said", None, None))
