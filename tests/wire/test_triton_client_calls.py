"""Every public call of Triton's two HTTP clients that belongs to an extension we list, one small test for each.

The table is held against the clients: a call that is not in it fails here until its test is written.
"""

from __future__ import annotations

import gc
import inspect
import json
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.unit.runtime.graphs import linear
from tests.wire import digits
from tests.wire.digits import INPUT, OUTPUT, ROWS, VERSIONS, is_answer_of

# The asynchronous client asks whether a server is ready and drops the answer unread, which aiohttp says when it is
# collected.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")

CLIENTS = {"http": triton.InferenceServerClient, "http.aio": triton_aio.InferenceServerClient}


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
    calls = Calls(request.param, f"127.0.0.1:{sharing.port}")
    yield calls
    await calls("close")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def image() -> Any:
    return digits.image(triton, ROWS[:2])


def is_right(answer: Any) -> bool:
    return is_answer_of("1", answer.as_numpy(OUTPUT), 2)


async def trace_settings(call: Calls) -> None:
    start = await call("get_trace_settings")
    assert await call("update_trace_settings", "digits", {"trace_rate": "77"}) == {**start, "trace_rate": "77"}
    assert await call("update_trace_settings", "digits", {"trace_rate": None}) == start


async def log_settings(call: Calls) -> None:
    start = await call("get_log_settings")
    assert await call("update_log_settings", {"log_verbose_level": 2}) == {**start, "log_verbose_level": 2}
    assert await call("update_log_settings", {"log_verbose_level": 0}) == start


async def live(call: Calls) -> None:
    assert await call("is_server_live") is True


async def ready(call: Calls) -> None:
    assert await call("is_server_ready") is True


async def model_ready(call: Calls) -> None:
    assert await call("is_model_ready", "digits", "1") is True
    assert await call("is_model_ready", "none") is False


async def server_metadata(call: Calls) -> None:
    told = await call("get_server_metadata")
    assert told["name"] == "retort"
    assert {"system_shared_memory", "statistics", "binary_tensor_data"} <= set(told["extensions"])


async def model_metadata(call: Calls) -> None:
    told = await call("get_model_metadata", "digits", "1")
    assert [tensor["name"] for tensor in told["inputs"] + told["outputs"]] == [INPUT, OUTPUT]


async def model_config(call: Calls) -> None:
    assert (await call("get_model_config", "digits", "1"))["max_batch_size"] == 32


async def index(call: Calls) -> None:
    told = await call("get_model_repository_index")
    assert {entry["version"] for entry in told if entry["name"] == "digits"} >= set(
        VERSIONS
    )  # others are there and not resident


async def load(call: Calls) -> None:
    assert await call("load_model", "words") is None
    assert await call("is_model_ready", "words")


async def load_with_a_configuration_and_files(call: Calls) -> None:
    config = json.dumps({"backend": "onnxruntime", "max_batch_size": 3})
    await call("load_model", "brought", config=config, files={"file:1/model.onnx": linear()})
    assert (await call("get_model_config", "brought"))["max_batch_size"] == 3
    await call("unload_model", "brought")


async def unload(call: Calls) -> None:
    await call("unload_model", "words", unload_dependents=True)
    assert not await call("is_model_ready", "words")
    await call("load_model", "words")


async def statistics(call: Calls) -> None:
    await call("infer", "digits", [image()])
    [told] = (await call("get_inference_statistics", "digits", "1"))["model_stats"]
    assert told["inference_stats"]["success"]["count"] > 0
    everything = (await call("get_inference_statistics"))["model_stats"]
    assert {"digits", "words", "large"} <= {entry["name"] for entry in everything}


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
        request_compression_algorithm="gzip",
        response_compression_algorithm="deflate",
        headers={"x-request-id": "mine"},
        query_params={"any": "thing"},
        parameters={"mine": "x"},
    )
    assert is_right(answer)
    assert answer.get_response()["id"] == "7"


async def async_infer(call: Calls) -> None:
    assert is_right((await call("async_infer", "digits", [image()], "1")).get_result())


async def request_body(call: Calls) -> None:
    body, length = await call("generate_request_body", [image()], request_id="9")
    assert (body[:1], body[length:]) == (b"{", ROWS[:2].tobytes())


async def response_body(call: Calls) -> None:
    answer = await call("parse_response_body", b'{"outputs":[{"name":"y","datatype":"INT32","shape":[1],"data":[5]}]}')
    np.testing.assert_array_equal(answer.as_numpy("y"), [5])


async def system_shared_memory(call: Calls) -> None:
    name = f"retort-test-{uuid.uuid4().hex}"
    handle = shm.create_shared_memory_region(name, name, 64)
    try:
        await call("register_system_shared_memory", name, f"/{name}", 32, offset=16)
        [told] = await call("get_system_shared_memory_status", name)
        assert told == {"name": name, "key": f"/{name}", "offset": 16, "byte_size": 32}
        await call("unregister_system_shared_memory", name)
        assert name not in {region["name"] for region in await call("get_system_shared_memory_status")}
        await call("unregister_system_shared_memory")
        assert await call("get_system_shared_memory_status") == []
    finally:
        shm.destroy_shared_memory_region(handle)


async def cuda_shared_memory(call: Calls) -> None:
    """Not listed, and answered all the same: clients clear both kinds before they begin."""
    assert await call("get_cuda_shared_memory_status") == []
    await call("unregister_cuda_shared_memory")
    with pytest.raises(InferenceServerException, match="CUDA shared memory is not supported"):
        await call("register_cuda_shared_memory", "c", b"AAAA", 0, 64)


async def plugin(call: Calls) -> None:
    """Of the client alone, which changes the headers that are sent."""
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
    request_body: {"generate_request_body"},
    response_body: {"parse_response_body"},
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
    if test is async_infer and call.kind == "http.aio":
        assert not hasattr(call.client, "async_infer"), "the asynchronous client has it now"
    else:
        await test(call)


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_public_call_is_left_out(kind: str) -> None:
    public = {name for name, _ in inspect.getmembers(CLIENTS[kind], callable) if not name.startswith("_")}
    known = set().union(*TESTS.values())
    assert public - known == set()
    assert known - public <= {"async_infer"}
