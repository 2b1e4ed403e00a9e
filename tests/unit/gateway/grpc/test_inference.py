"""An answer over gRPC is held against the budget of bytes in flight by what it is on the wire, and given back."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.core.clock import MonotonicClock
from service.core.contract import Arrays, InferRequest, TensorSpec
from service.core.deadline import Deadline
from service.core.errors import Rejected
from service.gateway.budget import ByteBudget
from service.gateway.grpc import inference, messages
from service.gateway.grpc.build import build
from service.gateway.shared_memory import SharedMemory
from service.gateway.turns import Turns
from tests.unit.gateway.fake_catalog import FakeCatalog, FakeServable
from tests.unit.serving.house import until

MIB = 1 << 20
ALONE = 2  # references to what a list holds, and asks of


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


@asynccontextmanager
async def serving(
    budget: ByteBudget,
    wait_s: float = 0.0,
    shared_memory: SharedMemory | None = None,
    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "FP32", ("batch", 4)),),
    catalog: FakeCatalog | None = None,
    largest_bytes: int = 4 * MIB,
) -> AsyncIterator[tuple[Any, Counter[str]]]:
    """A stub of a server whose one model answers `texts`, unless a catalog is given, and its answers by code."""
    servable = FakeServable(inputs=inputs, outputs=(TensorSpec("y", "BYTES", ("batch", 1)),), answer=texts)
    servable.wait_s = wait_s
    responses: Counter[str] = Counter()
    server = build(
        cast("Any", catalog or FakeCatalog(servable)),
        cast("Any", None),
        "127.0.0.1",
        0,
        shared_memory=shared_memory or SharedMemory(False, MIB),
        responses=responses,
        clock=MonotonicClock(),
        max_body_bytes=MIB,
        drain_timeout_s=1,
        budget=budget,
    )
    await server.start()
    try:
        options = (("grpc.max_receive_message_length", largest_bytes),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel), responses
    finally:
        await server.stop()


async def test_answers_of_a_stream_that_nobody_takes_hold_half_of_the_budget_at_most() -> None:
    """Until they are taken or the client leaves; the one that is being sent may be larger."""
    budget = ByteBudget(8 * MIB)
    async with serving(budget) as (stub, responses):
        call = stub.ModelStreamInfer(iter([asking(MIB // 2)] * 40))
        assert len((await call.read()).infer_response.raw_output_contents[0]) > MIB // 2
        await until(lambda: responses["OK"] + responses["UNAVAILABLE"] == 40)
        assert MIB < budget.used_bytes <= 4 * MIB
        assert responses["UNAVAILABLE"] > 0
        for _ in range(5):
            await stub.ModelInfer(asking(MIB // 2), timeout=20)
        call.cancel()
        await until(lambda: budget.used_bytes == 0)
        [one] = [one async for one in stub.ModelStreamInfer(iter([asking(MIB // 2)]))]
        assert not one.error_message
        await until(lambda: budget.used_bytes == 0)


async def test_a_call_that_is_cancelled_is_counted_as_that() -> None:
    budget = ByteBudget(8 * MIB)
    async with serving(budget, wait_s=60) as (stub, responses):
        call = stub.ModelInfer(asking(1))
        await until(lambda: budget.used_bytes > 0)
        call.cancel()
        await until(lambda: responses["CANCELLED"] == 1)
        assert responses.total() == 1


async def test_a_request_of_a_stream_that_is_cancelled_is_counted_as_that() -> None:
    """One that waits for an earlier one of its sequence, too."""
    budget = ByteBudget(8 * MIB)
    requests = [asking(1), asking(1)]
    for request in requests:
        request.parameters["sequence_id"].int64_param = 7
        request.parameters["note"].string_param = "x" * MIB
    async with serving(budget, wait_s=60) as (stub, responses):
        call = stub.ModelStreamInfer(iter(requests))
        await until(lambda: budget.used_bytes > 2 * MIB)
        call.cancel()
        await until(lambda: responses["CANCELLED"] == 2)
        assert budget.used_bytes == 0
        assert responses.total() == 2


async def test_what_waits_for_an_earlier_one_of_its_sequence_holds_its_bytes_meanwhile() -> None:
    """Else a stream could have 64 MiB more than the budget knows of."""
    budget = ByteBudget(MIB)
    requests = [asking(1) for _ in range(4)]
    for request in requests:
        request.parameters["sequence_id"].int64_param = 7
        request.parameters["note"].string_param = "x" * (MIB // 4)
    async with serving(budget, wait_s=60) as (stub, responses):
        call = stub.ModelStreamInfer(iter(requests))
        await until(lambda: responses["UNAVAILABLE"] > 0)
        assert responses.total() == responses["UNAVAILABLE"] == 1
        assert budget.used_bytes > 3 * MIB // 4
        call.cancel()
        await until(lambda: budget.used_bytes == 0)


async def test_a_stream_that_rests_keeps_nothing_of_its_last_request_and_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else 512 of them could keep 64 GiB, of which the budget knows nothing."""
    seen: list[Any] = []
    size_bytes = inference._size_bytes

    def noted(item: Any) -> int:
        message = getattr(item, "message", item)
        if not any(message is other for other in seen):
            seen.append(message)
        return size_bytes(item)

    def encoded(*given: Any) -> messages.Encoded:
        made = encode(*given)
        seen.append(made.message)
        return made

    encode = messages.encode
    monkeypatch.setattr(messages, "encode", encoded)
    monkeypatch.setattr(inference, "_size_bytes", noted)
    over = asyncio.Event()

    async def asked() -> AsyncIterator[Any]:
        yield asking(1)
        await over.wait()

    async with serving(ByteBudget(MIB)) as (stub, _):
        call = stub.ModelStreamInfer(asked())
        assert (await call.read()).infer_response.outputs
        assert len(seen) == 3  # the request, its answer, and that as an answer of a stream
        await until(lambda: [sys.getrefcount(seen[at]) for at in range(3)] == [ALONE] * 3)
        over.set()
        assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("stream", [False, True])
async def test_a_large_answer_is_written_in_a_thread_and_held_against_the_budget(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, threads, write = ByteBudget(32 * MIB), [], messages.write

    def noted(*given: Any, **more: Any) -> messages.Encoded:
        threads.append(threading.current_thread())
        return write(*given, **more)

    monkeypatch.setattr(messages, "write", noted)
    async with serving(budget, largest_bytes=8 * MIB) as (stub, _):
        if stream:
            [said] = [one async for one in stub.ModelStreamInfer(iter([asking(3 * MIB)]))]
            answer = said.infer_response
            assert answer.parameters["triton_final_response"].bool_param
        else:
            answer = await stub.ModelInfer(asking(3 * MIB), timeout=20)
        assert list(answer.raw_output_contents) == [(3 * MIB).to_bytes(4, "little") + b"a" * (3 * MIB)]
        assert len(threads) == 1
        assert threads[0] is not threading.current_thread()
        await until(lambda: budget.used_bytes == 0)


async def test_an_id_that_is_none_is_not_sent_back() -> None:
    async with serving(ByteBudget(8 * MIB)) as (stub, _):
        requests = [asking(1), asking(1)]
        requests[0].id, requests[1].model_name, requests[1].id = "x" * 1025, "", "mine"
        said = [one async for one in stub.ModelStreamInfer(iter(requests))]
        assert sorted(one.infer_response.id for one in said) == ["", "mine"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_text_counts_by_its_bytes(stream: bool) -> None:
    budget = ByteBudget(MIB)
    async with serving(budget) as (stub, _):

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


async def test_a_message_of_countless_fields_is_refused_before_it_is_read() -> None:
    """8 MiB of inputs of two bytes each took 390 MiB, and the event loop for a second; parameters of one, half."""
    inputs = service_pb2.ModelInferRequest.FromString(b"\x2a\x00" * (MIB // 4))
    parameters = asking(1)
    for number in range(40_000):
        parameters.inputs[0].parameters[f"p{number}"].bool_param = True
    async with serving(ByteBudget(8 * MIB)) as (stub, _):
        for request in (inputs, parameters):
            with pytest.raises(grpc.aio.AioRpcError, match="more than 8192 fields") as refused:
                await stub.ModelInfer(request, timeout=20)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(grpc.aio.AioRpcError, match="more than 8192 fields"):
                [one async for one in stub.ModelStreamInfer(iter([request]))]


@pytest.mark.parametrize(("count", "where"), [(8000, "read a request"), (1000, "MainThread")])
async def test_a_request_of_many_parameters_is_read_beside_the_loop(
    count: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read one by one, raw contents or not: half a million took the loop for half a second."""
    names: list[str] = []
    decode = messages.decode

    def noted(*given: Any) -> messages.Asked:
        names.append(threading.current_thread().name)
        return decode(*given)

    monkeypatch.setattr(messages, "decode", noted)
    request = asking(1)
    for number in range(count):
        request.inputs[0].parameters[f"p{number}"].bool_param = True
    request.parameters["note"].string_param = "x" * (300 << 10)
    async with serving(ByteBudget(8 * MIB)) as (stub, _):
        await stub.ModelInfer(request, timeout=20)
        assert names == [where]


async def test_the_time_before_a_request_is_run_is_not_taken_off_its_deadline_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may wait for its turn, and for its reading: what gRPC says is left is from now on."""
    deadlines: list[float] = []
    infer = FakeServable.infer

    async def noted(servable: FakeServable, request: InferRequest, deadline: Deadline, *, origin: str) -> Any:
        deadlines.append(deadline.at_s)
        return await infer(servable, request, deadline, origin=origin)

    def late(_: Turns) -> asyncio.Future[None]:
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.5, turn.set_result, None)
        return turn

    monkeypatch.setattr(FakeServable, "infer", noted)
    monkeypatch.setattr(Turns, "take", late)
    async with serving(ByteBudget(8 * MIB)) as (stub, _):
        asked_s = MonotonicClock().now_s()
        await stub.ModelInfer(asking(1), timeout=30)
        assert asked_s + 29.75 < deadlines[0]


async def test_what_a_request_reads_from_shared_memory_counts_as_what_it_brings(tmp_path: Path) -> None:
    """A request of a hundred bytes could else hold 64 MiB beside the budget."""
    (tmp_path / "object").write_bytes(bytes(MIB))
    shared = SharedMemory(True, MIB, folder=tmp_path)
    shared.register("r", "object", 0, MIB)
    budget = ByteBudget(2 * MIB)
    request = service_pb2.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=(MIB // 16, 4))
    tensor.parameters["shared_memory_region"].string_param = "r"
    tensor.parameters["shared_memory_byte_size"].int64_param = MIB
    async with serving(budget, 60, shared) as (stub, _):
        first = stub.ModelInfer(request)
        await until(lambda: budget.used_bytes > MIB)
        with pytest.raises(grpc.aio.AioRpcError, match="in flight hold all") as refused:
            await stub.ModelInfer(request, timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        first.cancel()
        await until(lambda: budget.used_bytes == 0)


async def test_a_request_of_a_sequence_is_counted_by_the_version_that_began_it() -> None:
    active, older = FakeServable(), FakeServable(version="older")
    catalog = FakeCatalog(active, older)
    catalog.began[7] = older
    request = asking(1)
    request.parameters["sequence_id"].int64_param = 7
    async with serving(ByteBudget(8 * MIB), catalog=catalog) as (stub, _):
        assert (await stub.ModelInfer(request, timeout=20)).model_version == "older"
    assert (active.statistics.success.count, older.statistics.success.count) == (0, 1)
    assert (len(active.seen), len(older.seen)) == (0, 1)
    assert older.seen[0][2] == "127.0.0.1"


async def test_while_nobody_is_let_in_a_request_is_refused_unread() -> None:
    servable = FakeServable()
    servable.full = Rejected("the model is overloaded", 3)
    async with serving(ByteBudget(8 * MIB), catalog=FakeCatalog(servable)) as (stub, _):
        with pytest.raises(grpc.aio.AioRpcError, match="overloaded") as refused:
            await stub.ModelInfer(service_pb2.ModelInferRequest(model_name="m"), timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert servable.statistics.failures["REJECTED"].count == 1


async def test_texts_of_a_request_are_held_against_the_budget() -> None:
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"\x01\0\0\0a" * 100_000])
    request.inputs.add(name="t", datatype="BYTES", shape=(100_000,))
    budget = ByteBudget(32 * MIB)
    async with serving(budget, wait_s=60, inputs=(TensorSpec("t", "BYTES", ("batch",)),)) as (stub, _):
        call = stub.ModelInfer(request)
        await until(lambda: budget.used_bytes > 5 * MIB)
        call.cancel()
        await until(lambda: budget.used_bytes == 0)


async def test_typed_numbers_of_a_request_are_held_against_the_budget_as_what_they_become() -> None:
    request = service_pb2.ModelInferRequest(model_name="m")
    request.inputs.add(name="x", datatype="INT64", shape=(500_000,)).contents.int64_contents.extend([1] * 500_000)
    budget = ByteBudget(32 * MIB)
    async with serving(budget, wait_s=60, inputs=(TensorSpec("x", "INT64", ("batch",)),)) as (stub, _):
        call = stub.ModelInfer(request)
        await until(lambda: budget.used_bytes > 4 * MIB)
        call.cancel()
        await until(lambda: budget.used_bytes == 0)
