"""Triton's own clients say priority and timeout, over HTTP and gRPC, while the one engine is busy."""

from __future__ import annotations

import json
import queue
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.serving import models

YAML = """\
max_batch_size: 1
warmup: false
dynamic_batching: {priority_levels: 3, default_priority_level: 2}
"""
LONG = 20_000_000  # turns of the loop: longer than any test
TRIES = 5
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("priorities")
    (folder / "repository" / "loop" / "1").mkdir(parents=True)
    (folder / "repository" / "loop" / "1" / "model.onnx").write_bytes(graphs.loop())
    (folder / "repository" / "loop" / "model.yaml").write_text(YAML)
    with ServerProcess(["--repository", str(folder / "repository")], folder, env={"RETORT_ACCESS_LOG": "1"}) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def ask(request: pytest.FixtureRequest, server: ServerProcess) -> Ask:
    """Asks for so many turns, under a name, on a connection of its own; gives the time of the answer."""
    module, where = {
        "http": (triton_http, f"127.0.0.1:{server.port}"),
        "grpc": (triton_grpc, server.grpc),
    }[request.param]

    def asked(turns: int, called: str = "", **wish: int) -> float:
        inputs = []
        for name, array in models.turns(turns).items():
            inputs.append(module.InferInput(name, list(array.shape), "INT64" if array.dtype == np.int64 else "FP32"))
            inputs[-1].set_data_from_numpy(array)
        with module.InferenceServerClient(where) as client:
            client.infer("loop", inputs, headers={"x-request-id": called} if called else None, **wish)
        return time.monotonic()

    return asked


def pending(server: ServerProcess) -> int:
    told = re.search(r"^nv_inference_pending_request_count\{.*?\} (\d+)", server.http.get("/metrics").text, re.M)
    return int(told[1]) if told else 0


def until_pending(server: ServerProcess, requests: int) -> None:
    ends_s = time.monotonic() + 20
    while pending(server) != requests:
        assert time.monotonic() < ends_s, f"{pending(server)} requests are pending, not {requests}"


@contextmanager
def busy(server: ServerProcess) -> Iterator[None]:
    """The one engine runs what nobody waits for any more once the block ends: the run is stopped then."""
    inputs = [
        {"name": "n", "datatype": "INT64", "shape": [], "data": [LONG]},
        {"name": "x", "datatype": "FP32", "shape": [64, 64], "data": [1.0] * 4096},
    ]
    body = json.dumps({"inputs": inputs}).encode()
    head = f"POST /v2/models/loop/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    until_pending(server, 0)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head.encode() + body)
        until_pending(server, 1)
        yield


def answered(server: ServerProcess, names: Sequence[str]) -> list[str]:
    """The requests of these names in the order in which the server answered them, by its own log."""
    until(lambda: all(f'"{name}"' in server.log() for name in names))
    return sorted(names, key=lambda name: server.log().index(f'"{name}"'))


def test_a_better_priority_overtakes(server: ServerProcess, ask: Ask, request: pytest.FixtureRequest) -> None:
    named = {level: f"level-{level}-{request.node.callspec.id}" for level in (3, 9, 0, 1)}
    with ThreadPoolExecutor(4) as clients:
        asked: list[Future[float]] = []
        with busy(server):
            for level, name in named.items():
                asked.append(clients.submit(ask, 1000, name, priority=level))
                until_pending(server, 1 + len(asked))
        assert all(answer.result(30) for answer in asked)
    # 9 is no level, and takes the default as 0 does
    assert answered(server, list(named.values())) == [named[level] for level in (1, 9, 0, 3)]


def test_a_timeout_bounds_the_wait_and_not_the_run(server: ServerProcess, ask: Ask) -> None:
    with busy(server), pytest.raises(InferenceServerException, match="timeout passed while") as refused:
        ask(1, timeout=100_000)
    assert refused.value.status() in ("503", "StatusCode.UNAVAILABLE")
    until_pending(server, 0)
    assert any(takes_longer_than_its_timeout(ask) for _ in range(TRIES))


def takes_longer_than_its_timeout(ask: Ask) -> bool:
    """Whether a run that began at once did; on a machine that stands still it may not begin at once."""
    began_s = time.monotonic()
    try:
        return ask(20_000, timeout=100_000) - began_s > 0.1
    except InferenceServerException:
        return False


def turns_over_grpc(turns: int) -> list[Any]:
    inputs = []
    for name, array in models.turns(turns).items():
        inputs.append(triton_grpc.InferInput(name, list(array.shape), "INT64" if array.dtype == np.int64 else "FP32"))
        inputs[-1].set_data_from_numpy(array)
    return inputs


@pytest.mark.parametrize("leaves", ["by its deadline", "by a cancel"])
def test_who_leaves_over_grpc_leaves_the_queue(server: ServerProcess, leaves: str) -> None:
    leaving, timeout_s = 10, 3.0 if "deadline" in leaves else None
    with triton_grpc.InferenceServerClient(server.grpc) as client, busy(server):
        ended: queue.Queue[Any] = queue.Queue()

        def told(result: Any, error: Any) -> None:
            ended.put(error)

        inputs = turns_over_grpc(1)
        stays = client.async_infer("loop", inputs, told)  # the control: it waits on
        calls = [client.async_infer("loop", inputs, told, client_timeout=timeout_s) for _ in range(leaving)]
        until(lambda: pending(server) == 2 + leaving)
        for call in calls if timeout_s is None else []:
            call.cancel()
        assert all(ended.get(timeout=20) is not None for _ in range(leaving))
        until(lambda: pending(server) == 2)  # the engine's, and the control
        assert ended.empty()
        stays.cancel()
