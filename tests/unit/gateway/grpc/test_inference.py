"""An answer over gRPC is held against the budget of bytes in flight by what it is on the wire, and given back."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.core.clock import MonotonicClock
from service.core.contract import Arrays, TensorSpec
from service.gateway.budget import ByteBudget
from service.gateway.grpc.build import build
from service.gateway.shared_memory import SharedMemory
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeServable
from tests.unit.serving.house import until

MIB = 1 << 20


def texts(arrays: Arrays) -> Arrays:
    """One text of as many bytes as `x` says."""
    text = np.empty((1, 1), object)
    text[0, 0] = b"a" * int(arrays["x"][0, 0])
    return {"y": text}


def asking(size_bytes: int) -> Any:
    row = np.array([[size_bytes, 0, 0, 0]], np.float32)
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[row.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=(1, 4))
    return request


@pytest.mark.parametrize("stream", [False, True])
async def test_a_text_counts_by_its_bytes(stream: bool) -> None:
    budget = ByteBudget(MIB)
    servable = FakeServable(outputs=(TensorSpec("y", "BYTES", ("batch", 1)),), answer=texts)
    server = build(
        cast("Any", FakeCatalog(servable)),
        cast("Any", None),
        "127.0.0.1",
        0,
        shared_memory=SharedMemory(False, MIB),
        responses=Counter(),
        clock=MonotonicClock(),
        max_body_bytes=MIB,
        drain_timeout_s=1,
        budget=budget,
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def refusal(size_bytes: int) -> str:
                if stream:
                    [said] = [one async for one in stub.ModelStreamInfer(iter([asking(size_bytes)]))]
                    return str(said.error_message)
                try:
                    await stub.ModelInfer(asking(size_bytes), timeout=20)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    return str(error.details())
                return ""

            assert await refusal(MIB // 2) == ""
            assert "RETORT_MAX_IN_FLIGHT_BYTES" in await refusal(2 * MIB)
            for _ in range(10):
                assert await refusal(MIB // 2) == ""
        await until(lambda: budget.used_bytes == 0)  # the server hears of an answer's end after its client
    finally:
        await server.stop()
