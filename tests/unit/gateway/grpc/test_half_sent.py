"""Calls whose messages never come whole: they end in their time, and the places that they held are free again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.core.clock import MonotonicClock
from service.gateway.budget import ByteBudget
from service.gateway.grpc.build import build
from service.gateway.grpc.server import GrpcServer
from service.gateway.shared_memory import SharedMemory
from tests.support.http2 import INFER, SETTLED, Calls, half_sent
from tests.support.waiting import PATIENCE_S
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeServable

PLACES = 32
SLOW_S = 0.5
SERVER, ARRIVALS, INFERENCE = (f"service.gateway.grpc.{name}" for name in ("server", "arrivals", "inference"))
CHECK = b"/grpc.health.v1.Health/Check"


@pytest.fixture(autouse=True)
def soon_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{ARRIVALS}.SLOW_S", SLOW_S)


class Live:
    """A server that lives and is ready."""

    ok = True

    def live(self) -> Live:
        return self

    ready = live


@asynccontextmanager
async def serving(responses: Counter[str], budget: ByteBudget) -> AsyncIterator[GrpcServer]:
    server = build(
        cast("Any", FakeCatalog(FakeServable())),
        cast("Any", Live()),
        "127.0.0.1",
        0,
        shared_memory=SharedMemory(False, 1 << 20),
        responses=responses,
        clock=MonotonicClock(),
        max_body_bytes=1 << 20,
        drain_timeout_s=1,
        budget=budget,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def good_calls(server: GrpcServer) -> list[str]:
    """How a call to each of two services ends."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [
            infer.ServerLive(service_pb2.ServerLiveRequest(), timeout=20),
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20),
        ]
        return [(await call.code()).name for call in calls]


async def attack(server: GrpcServer, path: bytes, ended: int) -> tuple[int, list[str]]:
    """Takes every place by calls half sent: how many the server ended, and how good calls fare then.

    Args:
        ended: so many are waited for, with patience, and for any more a short while.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(SETTLED + half_sent(PLACES, path))
    calls = Calls()
    for enough, within_s in ((ended, PATIENCE_S), (PLACES, 3 * SLOW_S)):
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(calls.ended) < enough:
                    calls.read(await reader.read(4096))
    fare = await good_calls(server)
    writer.transport.abort()
    return len(calls.ended), fare


@pytest.mark.parametrize("path", [INFER, CHECK])
async def test_half_sent_messages_end_in_their_time_and_leave_their_places(
    monkeypatch: pytest.MonkeyPatch, path: bytes
) -> None:
    monkeypatch.setattr(f"{SERVER}._CALLS_LIMIT", PLACES)
    monkeypatch.setattr(f"{ARRIVALS}.LEAST_S", 1.0)
    responses, budget = Counter[str](), ByteBudget(1 << 30)
    async with serving(responses, budget) as server:
        assert await attack(server, path, PLACES) == (PLACES, ["OK", "OK"])
    assert budget.used_bytes == 0
    if path == INFER:
        assert responses == {"DEADLINE_EXCEEDED": PLACES, "OK": 1}


async def test_more_slow_ones_than_there_is_room_for_are_refused_before_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{SERVER}._CALLS_LIMIT", PLACES)
    monkeypatch.setattr(f"{ARRIVALS}.LEAST_S", 60.0)
    responses = Counter[str]()
    async with serving(responses, ByteBudget(10 << 20)) as server:
        ended, fare = await attack(server, INFER, PLACES - 10)
    assert (ended, fare) == (PLACES - 10, ["OK", "OK"])
    assert responses["UNAVAILABLE"] == PLACES - 10


async def test_control_without_the_two_they_would_hold_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{SERVER}._CALLS_LIMIT", PLACES)
    async with serving(Counter(), ByteBudget(1 << 30)) as server:
        assert await attack(server, INFER, 0) == (0, ["RESOURCE_EXHAUSTED"] * 2)


async def test_a_call_that_brings_no_message_is_told_so() -> None:
    responses = Counter[str]()
    async with (
        serving(responses, ByteBudget(1 << 30)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = channel.stream_unary(INFER.decode())(iter(()), timeout=20)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "before its message came" in await call.details()
    assert responses == {"INVALID_ARGUMENT": 1}


async def test_streams_that_rest_leave_places_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{INFERENCE}.STREAMS_LIMIT", 2)
    async with (
        serving(Counter(), ByteBudget(1 << 30)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        bad = service_pb2.ModelInferRequest(model_name="none")
        resting = [stub.ModelStreamInfer() for _ in range(2)]
        for stream in resting:
            await stream.write(bad)
            assert "none" in (await stream.read()).error_message
        refused = stub.ModelStreamInfer(iter([bad]))
        assert await refused.code() is grpc.StatusCode.UNAVAILABLE
        assert "2 streams are open" in await refused.details()
        resting[0].cancel()

        for _ in range(1000):  # until the server has heard of it
            another = stub.ModelStreamInfer()
            await another.write(bad)
            if await another.read() is not grpc.aio.EOF:
                return
        pytest.fail("no place became free")
