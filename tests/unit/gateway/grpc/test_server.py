"""What grpc itself logs: only what is news. Who connects and does not say that it speaks HTTP/2 is let go."""

from __future__ import annotations

import asyncio
import logging

import pytest
from grpc._cython import cygrpc  # type: ignore[import-untyped]

from service.gateway.grpc.server import GrpcServer, _is_news

SILENT = {"nothing": b"", "half a preface": b"PRI * HTTP/2.0\r\n", "no settings": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}


async def still_open(within_s: float) -> list[str]:
    """Which of `SILENT` a server has not closed in time."""
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

    async def one(octets: bytes) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(octets)
        try:
            async with asyncio.timeout(within_s):
                while await reader.read(4096):
                    pass
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        finally:
            writer.transport.abort()
        return False

    try:
        opened = await asyncio.gather(*(one(octets) for octets in SILENT.values()))
        return [name for name, is_open in zip(SILENT, opened, strict=True) if is_open]
    finally:
        await server.stop()


LIMIT = "service.gateway.grpc.server.HANDSHAKE_LIMIT_S"


async def test_who_does_not_begin_to_speak_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 0.5)
    assert await still_open(within_s=20) == []


async def test_without_that_time_they_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 60.0)
    assert await still_open(within_s=1.5) == list(SILENT)


@pytest.mark.parametrize(("error", "told"), [(cygrpc.ExecuteBatchError("x"), False), (ValueError("x"), True)])
def test_an_answer_to_a_client_that_has_gone_is_no_error(error: Exception, told: bool) -> None:
    record = logging.LogRecord("grpc", logging.ERROR, "", 0, "raised", None, (type(error), error, None))
    assert _is_news(record) is told


def test_lines_without_an_error_are_told() -> None:
    assert _is_news(logging.LogRecord("grpc", logging.WARNING, "", 0, "said", None, None))
