"""A watch of a model's health lasts as long as the key that it came with, and keeps its name alone."""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.core.clock import MonotonicClock
from service.core.errors import NotFound
from service.gateway.grpc.build import build
from service.gateway.grpc.health import HealthService
from service.gateway.keyring import Keyring
from service.gateway.shared_memory import SharedMemory
from service.observe.logs import logger
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

SERVING = health_pb2.HealthCheckResponse.SERVING


def write(path: Path, *keys: str) -> None:
    path.write_text("".join(f"{key} infer sha256:{hashlib.sha256(key.encode()).hexdigest()}\n" for key in keys))
    path.chmod(0o600)


async def test_a_watch_of_a_model_ends_when_its_key_is_taken_away(tmp_path: Path) -> None:
    write(path := tmp_path / "keys", "one", "two")
    keyring = Keyring(path, MonotonicClock(), logger("test"))
    server = build(
        cast("Any", FakeCatalog(FakeServable())),
        cast("Any", FakeHealth()),
        "127.0.0.1",
        0,
        shared_memory=SharedMemory(False, 1000),
        responses=Counter(),
        clock=MonotonicClock(),
        max_body_bytes=1000,
        drain_timeout_s=1,
        keyring=keyring,
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel, asyncio.timeout(20):
        stub = health_pb2_grpc.HealthStub(channel)
        asked = {"one": "m", "two": "m", "none": ""}
        watches = {
            key: stub.Watch(health_pb2.HealthCheckRequest(service=name), metadata=(("x-api-key", key),))
            for key, name in asked.items()
        }
        for watch in watches.values():
            assert (await watch.read()).status == SERVING
        write(path, "two")
        keyring.read_again()
        with pytest.raises(grpc.aio.AioRpcError, match="the key is not known"):
            await watches["one"].read()
        assert await watches["one"].code() is grpc.StatusCode.UNAUTHENTICATED
        await asyncio.wait([asyncio.ensure_future(watches[key].code()) for key in ("two", "none")], timeout=0.6)
        assert not watches["two"].done()
        assert not watches["none"].done()
    await server.stop()


class Asked:
    service = "x" * (1 << 20)


async def test_of_what_is_watched_no_more_than_a_name_is_kept() -> None:
    """Six watches of names of 60 MiB held 0.4 GiB for as long as they lasted."""
    names: list[str] = []
    asked: list[Asked] = [Asked()]
    kept = weakref.ref(asked[0])

    async def message(_context: Any) -> Asked:
        return asked.pop()

    def ready(name: str) -> None:
        names.append(name)
        raise NotFound("none")

    parts = SimpleNamespace(ready=ready), FakeHealth(), asyncio.Event(), SimpleNamespace(message=message)
    watch = HealthService(*cast("Any", parts)).Watch(None, None)
    assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert kept() is None
    assert [len(name) for name in names] == [1024]
    await watch.aclose()  # type: ignore[attr-defined]
