"""A server that the system refuses memory, as under `ulimit -d`: who wanted it is told so, and others are served."""

from __future__ import annotations

import gzip
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from onnx import TensorProto

from service.core.confine import data_bytes
from tests.support.process import ServerProcess
from tests.unit.runtime.graphs import identity
from tests.wire.digits import INFER, ROWS, is_answer_of, tensor

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
ROOM_BYTES = 28 << 20  # a thread takes 8 MiB of it
SHAPE = (12_000, 1000)
SIZE_BYTES = 4 * SHAPE[0] * SHAPE[1]
BUDGET_BYTES = 4 * SIZE_BYTES
LARGE = "/v2/models/numbers/infer"
# A thread's stack is memory too, and where a body is decoded in one that may be what is refused.
SENTENCES = [f"the system gives the server no more {what} now; try again later" for what in ("memory", "threads")]
Send = Callable[[httpx.Client], httpx.Response]

_ONE = {"name": "x", "shape": SHAPE, "datatype": "FP32", "parameters": {"binary_data_size": SIZE_BYTES}}
HEAD = json.dumps({"inputs": [_ONE], "outputs": [{"name": "y", "parameters": {"classification": 1}}]}).encode()
LENGTH = {"Inference-Header-Content-Length": str(len(HEAD))}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("refused")
    version = folder / "repository" / "numbers" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(identity(TensorProto.FLOAT, ("N", SHAPE[1])))
    arguments = ["--repository", str(REPOSITORY), "--repository", str(folder / "repository"), "--grpc-port", "-1"]
    with ServerProcess(arguments, folder, env={"RETORT_MAX_IN_FLIGHT_BYTES": str(BUDGET_BYTES)}) as running:
        yield running


def whole(client: httpx.Client) -> httpx.Response:
    """Is read past the parser, into memory of its own."""
    return client.post(LARGE, content=HEAD + bytes(SIZE_BYTES), headers=LENGTH)


def coded(client: httpx.Client) -> httpx.Response:
    """Is small until it is decoded."""
    content = gzip.compress(HEAD + bytes(SIZE_BYTES), 1)
    return client.post(LARGE, content=content, headers={"Content-Encoding": "gzip", **LENGTH})


@contextmanager
def refused(server: ServerProcess) -> Iterator[None]:
    """Meanwhile it may take no more than a little."""
    pid = server.process.pid
    held_bytes = data_bytes(Path(f"/proc/{pid}/status"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (held_bytes + ROOM_BYTES, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("send", [whole, coded])
def test_who_wants_memory_that_the_system_refuses_is_told_so(server: ServerProcess, send: Send) -> None:
    with refused(server):
        for _ in range(6):  # which would fill the budget, if any of it stayed there
            with httpx.Client(base_url=server.url, timeout=30) as client:
                answer = send(client)
            assert answer.status_code == 503
            assert answer.json()["error"] in SENTENCES
            assert answer.headers["Retry-After"] == "1"
        good = server.http.post(INFER, json={"inputs": [tensor(ROWS[:1])]})
        assert is_answer_of("1", good.json()["outputs"][0]["data"], 1)
        assert server.http.get("/v2/health/ready").status_code == 200
    assert "Traceback" not in server.log()
    with httpx.Client(base_url=server.url, timeout=30) as client:  # control: the request is a good one
        assert send(client).status_code == 200
