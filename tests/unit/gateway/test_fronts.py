"""What the ways in share: inference requests of all of them wait for one and the same turns of the loop (O7)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc
import numpy as np
import orjson
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.core.clock import MonotonicClock
from service.gateway.controls import Controls
from service.gateway.credentials import Credentials
from service.gateway.fronts import Fronts, Listening
from service.observe.logs import logger
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeServable
from tests.unit.serving.house import until

ROW = [0.0, 1.0, 2.0, 3.0]
BODIES = {
    "/v2/models/m/infer": {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]},
    "/v1/models/m:predict": {"instances": [ROW]},
}


class Held:
    """Turns that come when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    def now_s(self) -> float:
        return 0.0

    def take(self) -> asyncio.Future[None]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


async def ask(port: int, path: str) -> int:
    """The status of one request."""
    body = orjson.dumps(BODIES[path])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


async def call(port: int) -> str:
    """The code of one call."""
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[np.float32(ROW).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=(1, 4))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
        return str((await asked.code()).name)


async def test_requests_of_all_transports_take_their_turns_from_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Held] = []

    def make(_clock: object) -> Held:
        made.append(Held())
        return made[-1]

    monkeypatch.setattr("service.gateway.fronts.Turns", make)
    clock = MonotonicClock()
    listening = Listening("127.0.0.1", 0, 0, max_body_bytes=1 << 20, drain_timeout_s=1)
    credentials = Credentials(None, None, clock, logger("test"))
    fronts = Fronts(
        cast("Any", FakeCatalog(FakeServable())), cast("Any", None), listening, clock, Controls(), credentials
    )
    await fronts.start()
    try:
        http_port, grpc_port = (int(url.rsplit(":", 1)[1]) for url in fronts.urls.split())
        asked = [*(asyncio.create_task(ask(http_port, path)) for path in BODIES), asyncio.create_task(call(grpc_port))]
        [turns] = made
        await until(lambda: len(turns.waiting) == len(asked))
        assert not any(one.done() for one in asked)
        for turn in turns.waiting:
            turn.set_result(None)
        assert await asyncio.gather(*asked) == [200, 200, "OK"]
    finally:
        await fronts.stop()
