from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from service.gateway.http import build
from tests.unit.gateway.codec_reads import Read
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

LIMIT_BYTES = 100_000
LOOPBACK = "http://127.0.0.1:8000"
PEER = ("127.0.0.1", 50_000)


@pytest.fixture
def servable() -> FakeServable:
    return FakeServable()


@pytest.fixture
def catalog(servable: FakeServable) -> FakeCatalog:
    return FakeCatalog(servable, FakeServable(version="1-int8"))


@pytest.fixture
def health() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
def connect(catalog: FakeCatalog, health: FakeHealth) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of the application; `peer` and `base_url` say where they seem to sit."""
    yield from opening(build(cast("Any", catalog), cast("Any", health), max_body_bytes=LIMIT_BYTES, access_log=True))


def opening(app: ASGIApp) -> Iterator[Callable[..., TestClient]]:
    """What makes clients of `app`, and closes them all in the end."""
    opened: list[TestClient] = []

    def open_client(peer: tuple[str, int] = PEER, base_url: str = LOOPBACK) -> TestClient:
        opened.append(TestClient(cast("Any", app), base_url=base_url, client=peer))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    return Read(monkeypatch)


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    return connect()
