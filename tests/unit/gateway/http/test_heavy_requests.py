"""While a large request is read or its answer written, others are answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import numpy as np
import pytest

from service.gateway import codec, tensorflow_json
from service.gateway.heavy import HEAVY_BYTES, HEAVY_VALUES
from service.gateway.http import build
from tests.unit.gateway.conftest import LOOPBACK
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeHealth, FakeServable

V2, V1 = "/v2/models/m/infer", "/v1/models/m:predict"
LARGE, SMALL = HEAVY_BYTES // 8, 2
CASES = [(V2, codec), (V1, tensorflow_json)]


class Gate:
    """Stands before a function: tells that it was reached, and in which thread, and waits to be opened."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()
        self.open = threading.Event()
        self.thread = 0

    def __call__(self, *arguments: Any) -> Any:
        self.thread = threading.get_ident()
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self.open.wait(60)
        return self._function(*arguments)


@pytest.fixture
async def client(catalog: FakeCatalog, health: FakeHealth) -> AsyncIterator[httpx.AsyncClient]:
    app = cast("Any", build(cast("Any", catalog), cast("Any", health), max_body_bytes=1 << 22))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=LOOPBACK) as connected:
        yield connected


def body(path: str, rows: int) -> dict[str, Any]:
    values = np.ones((rows, 4)).tolist()
    if path == V1:
        return {"instances": values}
    return {"inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": values}]}


@pytest.mark.parametrize(("path", "module"), CASES)
@pytest.mark.parametrize("step", ["decode", "encode"])
async def test_others_are_answered_meanwhile(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, module: Any, step: str
) -> None:
    gate = Gate(getattr(module, step))
    monkeypatch.setattr(module, step, gate)
    sent = asyncio.create_task(client.post(path, json=body(path, LARGE)))
    await asyncio.wait_for(gate.reached.wait(), 20)
    assert (await client.get("/v2/health/live")).status_code == 200
    assert not sent.done()
    gate.open.set()
    answer = await sent
    assert answer.status_code == 200
    assert gate.thread != threading.get_ident()


@pytest.mark.parametrize(("path", "module"), CASES)
@pytest.mark.parametrize("step", ["decode", "encode"])
async def test_a_small_request_costs_no_thread(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, module: Any, step: str
) -> None:
    gate = Gate(getattr(module, step))
    gate.open.set()
    monkeypatch.setattr(module, step, gate)
    assert (await client.post(path, json=body(path, SMALL))).status_code == 200
    assert gate.thread == threading.get_ident()


async def test_a_large_request_that_is_wrong_is_told_so_and_counted(
    client: httpx.AsyncClient, servable: FakeServable
) -> None:
    wrong = body(V2, LARGE)
    wrong["inputs"][0]["shape"] = [1, 4]
    answer = await client.post(V2, json=wrong)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert sum(failed.count for failed in servable.statistics.failures.values()) == 1
    assert servable.leases == 0


async def test_many_classes_are_written_in_a_thread(
    client: httpx.AsyncClient, servable: FakeServable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(codec.encode)
    gate.open.set()
    monkeypatch.setattr(codec, "encode", gate)
    servable.answer = lambda arrays: {"y": np.zeros((len(arrays["x"]), HEAVY_VALUES), np.float32)}
    asked = body(V2, SMALL) | {"outputs": [{"name": "y", "parameters": {"classification": 1, "binary_data": True}}]}
    assert (await client.post(V2, json=asked)).status_code == 200
    assert gate.thread != threading.get_ident()
