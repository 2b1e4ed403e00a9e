"""Every public call of Triton's two gRPC clients that belongs to an extension we list, one small test for each.

The table is held against the clients: a call that is not in it fails here until its test is written.
"""

from __future__ import annotations

import inspect
import json
import queue
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.unit.runtime.graphs import linear
from tests.wire import digits
from tests.wire.digits import INPUT, OUTPUT, ROWS, VERSIONS, is_answer_of

CLIENTS = {"grpc": triton.InferenceServerClient, "grpc.aio": triton_aio.InferenceServerClient}
# Each client streams in its own way, and only the plain one has callbacks.
ONLY = {
    "grpc": {"async_infer", "async_stream_infer", "start_stream", "stop_stream"},
    "grpc.aio": {"stream_infer"},
}


class Calls:
    """One client, plain or asynchronous, whose calls are awaited either way."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self.client = CLIENTS[kind](address)

    async def __call__(self, name: str, *arguments: Any, **more: Any) -> Any:
        result = getattr(self.client, name)(*arguments, **more)
        return await result if inspect.isawaitable(result) else result


@pytest.fixture(params=CLIENTS)
async def call(request: pytest.FixtureRequest, sharing: ServerProcess) -> AsyncIterator[Calls]:
    calls = Calls(request.param, sharing.grpc)
    yield calls
    await calls("close")


def image() -> Any:
    return digits.image(triton, ROWS[:2])


def is_right(answer: Any) -> bool:
    return is_answer_of("1", answer.as_numpy(OUTPUT), 2)


async def live(call: Calls) -> None:
    assert await call("is_server_live") is True


async def ready(call: Calls) -> None:
    assert await call("is_server_ready") is True


async def model_ready(call: Calls) -> None:
    assert await call("is_model_ready", "digits", "1") is True
    assert await call("is_model_ready", "none") is False


async def server_metadata(call: Calls) -> None:
    told = await call("get_server_metadata")
    assert told.name == "retort"
    assert {"system_shared_memory", "sequence", "trace", "logging"} <= set(told.extensions)


async def model_metadata(call: Calls) -> None:
    told = await call("get_model_metadata", "digits", "1", as_json=True)
    assert [tensor["name"] for tensor in told["inputs"] + told["outputs"]] == [INPUT, OUTPUT]


async def model_config(call: Calls) -> None:
    assert (await call("get_model_config", "digits", "1")).config.max_batch_size == 32


async def index(call: Calls) -> None:
    told = await call("get_model_repository_index")
    assert {entry.version for entry in told.models if entry.name == "digits"} >= set(
        VERSIONS
    )  # others are there and not resident


async def load(call: Calls) -> None:
    await call("load_model", "words")
    assert await call("is_model_ready", "words")


async def load_with_a_configuration_and_files(call: Calls) -> None:
    config = json.dumps({"backend": "onnxruntime", "max_batch_size": 3})
    await call("load_model", "brought", config=config, files={"file:1/model.onnx": linear()})
    assert (await call("get_model_config", "brought")).config.max_batch_size == 3
    await call("unload_model", "brought")


async def unload(call: Calls) -> None:
    await call("unload_model", "words", unload_dependents=True)
    assert not await call("is_model_ready", "words")
    await call("load_model", "words")


async def statistics(call: Calls) -> None:
    await call("infer", "digits", [image()], "1")
    [told] = (await call("get_inference_statistics", "digits", "1")).model_stats
    assert told.inference_stats.success.count > 0
    everything = (await call("get_inference_statistics")).model_stats
    assert {"digits", "words", "large"} <= {entry.name for entry in everything}


async def infer(call: Calls) -> None:
    answer = await call(
        "infer",
        "digits",
        [image()],
        "1",
        outputs=[triton.InferRequestedOutput(OUTPUT)],
        request_id="7",
        priority=1,
        timeout=5_000_000,
        client_timeout=20.0,
        headers={"x-request-id": "mine"},
        compression_algorithm="gzip",
        parameters={"mine": "x"},
    )
    assert is_right(answer)
    assert answer.get_response().id == "7"
    assert answer.get_output(OUTPUT).datatype == "FP32"


async def async_infer(call: Calls) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    await call("async_infer", "digits", [image()], lambda result, error: answers.put((result, error)), "1")
    result, error = answers.get(timeout=20)
    assert error is None
    assert is_right(result)


async def stream_with_callbacks(call: Calls) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    await call("start_stream", lambda result, error: answers.put((result, error)), stream_timeout=20)
    for _ in range(3):
        await call("async_stream_infer", "digits", [image()], "1")
    found = [answers.get(timeout=20) for _ in range(3)]
    await call("stop_stream")
    assert all(error is None and is_right(result) for result, error in found)


async def stream(call: Calls) -> None:
    async def requests() -> Any:
        for _ in range(3):
            yield {"model_name": "digits", "inputs": [image()], "model_version": "1"}

    found = [one async for one in call.client.stream_infer(requests())]
    assert len(found) == 3
    assert all(error is None and is_right(result) for result, error in found)


async def system_shared_memory(call: Calls) -> None:
    name = f"retort-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region(name, name, 64)
    try:
        await call("register_system_shared_memory", name, f"/{name}", 32, offset=16)
        told = (await call("get_system_shared_memory_status", name)).regions[name]
        assert (told.name, told.key, told.offset, told.byte_size) == (name, f"/{name}", 16, 32)
        await call("unregister_system_shared_memory", name)
        assert name not in (await call("get_system_shared_memory_status")).regions
        await call("unregister_system_shared_memory")
        assert not (await call("get_system_shared_memory_status")).regions
    finally:
        shm.destroy_shared_memory_region(handle)


async def cuda_shared_memory(call: Calls) -> None:
    """Not listed, and answered all the same: clients clear both kinds before they begin."""
    assert not (await call("get_cuda_shared_memory_status")).regions
    await call("unregister_cuda_shared_memory")
    with pytest.raises(InferenceServerException, match="CUDA shared memory is not supported"):
        await call("register_cuda_shared_memory", "c", b"AAAA", 0, 64)


async def trace_settings(call: Calls) -> None:
    async def rate() -> list[str]:
        return list((await call("get_trace_settings", "digits")).settings["trace_rate"].value)

    start = await rate()
    told = await call("update_trace_settings", "digits", {"trace_rate": "77"})
    assert list(told.settings["trace_rate"].value) == ["77"] == await rate()
    await call("update_trace_settings", "digits", {"trace_rate": None})
    assert await rate() == start


async def log_settings(call: Calls) -> None:
    async def level() -> int:
        return int((await call("get_log_settings")).settings["log_verbose_level"].uint32_param)

    start = await level()
    await call("update_log_settings", {"log_verbose_level": 2})
    assert await level() == 2
    await call("update_log_settings", {"log_verbose_level": start})
    assert await level() == start


async def plugin(call: Calls) -> None:
    """Of the client alone, which changes the metadata that is sent."""
    seen = []

    class Watch(triton.InferenceServerClientPlugin):  # type: ignore[misc]
        def __call__(self, request: Any) -> None:
            seen.append(request)

    await call("register_plugin", watch := Watch())
    assert call.client.plugin() is watch
    assert await call("is_server_live")
    await call("unregister_plugin")
    assert await call("is_server_live")
    assert len(seen) == 1


TESTS: dict[Callable[[Calls], Awaitable[None]], set[str]] = {
    live: {"is_server_live"},
    ready: {"is_server_ready"},
    model_ready: {"is_model_ready"},
    server_metadata: {"get_server_metadata"},
    model_metadata: {"get_model_metadata"},
    model_config: {"get_model_config"},
    index: {"get_model_repository_index"},
    load: {"load_model"},
    load_with_a_configuration_and_files: {"load_model"},
    unload: {"unload_model"},
    statistics: {"get_inference_statistics"},
    infer: {"infer"},
    async_infer: {"async_infer"},
    stream_with_callbacks: {"start_stream", "async_stream_infer", "stop_stream"},
    stream: {"stream_infer"},
    system_shared_memory: {
        "register_system_shared_memory",
        "unregister_system_shared_memory",
        "get_system_shared_memory_status",
    },
    cuda_shared_memory: {
        "register_cuda_shared_memory",
        "unregister_cuda_shared_memory",
        "get_cuda_shared_memory_status",
    },
    trace_settings: {"get_trace_settings", "update_trace_settings"},
    log_settings: {"get_log_settings", "update_log_settings"},
    plugin: {"plugin", "register_plugin", "unregister_plugin", "close"},
}


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_the_call_works(call: Calls, test: Callable[[Calls], Awaitable[None]]) -> None:
    others = set().union(*(names for kind, names in ONLY.items() if kind != call.kind))
    if TESTS[test] & others:
        assert not any(hasattr(call.client, name) for name in TESTS[test]), "this client has it now"
    else:
        await test(call)


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_public_call_is_left_out(kind: str) -> None:
    public = {name for name, _ in inspect.getmembers(CLIENTS[kind], callable) if not name.startswith("_")}
    known = set().union(*TESTS.values())
    assert public - known == set()
    assert known - public == set().union(*(names for other, names in ONLY.items() if other != kind))
