"""How long a client may take to shake hands, over both transports; and that without a limit it would not end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.gateway.grpc.server import GrpcServer
from service.gateway.http.server import HttpServer
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import make_pair

SHORT_S, LONG_S = 0.2, 60.0
Open = Callable[[Certificate], Any]


async def app(_scope: Any, _receive: Any, _send: Any) -> None:
    """Answers nothing."""


def over_http(certificate: Certificate) -> HttpServer:
    return HttpServer(app, "127.0.0.1", 0, drain_timeout_s=1, tls=certificate.context)


def over_grpc(certificate: Certificate) -> GrpcServer:
    return GrpcServer(
        lambda _server: None,
        (),
        "127.0.0.1",
        0,
        max_body_bytes=1000,
        drain_timeout_s=1,
        stopping=asyncio.Event(),
        certificate=certificate,
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    pair = make_pair(tmp_path_factory.mktemp("pair"))
    return Certificate(pair.chain, pair.key, logs.logger("test"))


@asynccontextmanager
async def silent(server: Any, first: bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that sends `first` and nothing else."""
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(first)
    try:
        yield reader
    finally:
        writer.close()
        server.hurry()
        await server.stop()


async def ended(reader: asyncio.StreamReader, within_s: float) -> bool:
    """Whether the server ends the connection in that time."""
    try:
        await asyncio.wait_for(reader.read(), within_s)
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02"])
@pytest.mark.parametrize(("open_server", "module"), [(over_http, "http"), (over_grpc, "grpc")])
async def test_who_does_not_shake_hands_is_let_go(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, open_server: Open, module: str, first: bytes
) -> None:
    monkeypatch.setattr(f"service.gateway.{module}.server.HANDSHAKE_LIMIT_S", SHORT_S)
    async with silent(open_server(certificate), first) as reader:
        assert await ended(reader, 20)


@pytest.mark.parametrize(("open_server", "module"), [(over_http, "http"), (over_grpc, "grpc")])
async def test_without_the_limit_it_would_stay(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, open_server: Open, module: str
) -> None:
    monkeypatch.setattr(f"service.gateway.{module}.server.HANDSHAKE_LIMIT_S", LONG_S)
    async with silent(open_server(certificate), b"") as reader:
        assert not await ended(reader, SHORT_S * 5)


async def test_the_address_says_that_it_is_tls(certificate: Certificate) -> None:
    for server, scheme in ((over_http(certificate), "https"), (over_grpc(certificate), "grpcs")):
        assert server.url == f"{scheme}://127.0.0.1:{server.port}"
        if isinstance(server, HttpServer):
            server.close()
