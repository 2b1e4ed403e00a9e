"""What nobody can have in time, or nobody waits for, is not run: deadlines, timeouts, and clients that leave (O4, C1).

One long request keeps the engine busy and is measured in known runs, so that the server can tell how long others wait.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.openloop import post
from tests.support.overload import MODEL, ROW, write_repository
from tests.support.process import ServerProcess
from tests.support.waiting import until

URL = f"/v2/models/{MODEL}/infer"
LONG_ROWS = 500  # more than two seconds, in runs of four rows
SHORT_MS = 100
DEADLINE_S = 1.0  # less than is left of the long one, and enough for a refusal to come back
PENDING = "nv_inference_pending_request_count"
HOUR_US = 3_600_000_000
Ask = Callable[[ServerProcess], tuple[str, int]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("deadlines")
    repository = write_repository(folder / "repository", max_queue_wait_microseconds=HOUR_US)
    with ServerProcess(["--repository", str(repository)], folder) as running:
        yield running


def body(rows: int, **parameters: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": ROW * rows}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def counter(server: ServerProcess, name: str, reason: str = "") -> int:
    lines = server.http.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith(f"{name}{{") and (not reason or f'reason="{reason}"' in line)]
    return int(found[0].rpartition(" ")[2])


@contextmanager
def busy(server: ServerProcess) -> Iterator[None]:
    """The engine runs the parts of one long request, which is answered in the end."""
    before = counter(server, "nv_inference_count")
    with ThreadPoolExecutor(1) as client:
        long = client.submit(lambda: httpx.post(server.url + URL, content=body(LONG_ROWS), timeout=60))
        until(lambda: counter(server, "nv_inference_count") >= before + 8)
        yield
        assert not long.done(), "the engine was not busy for as long as the test took"
        assert long.result(60).status_code == 200


def over_http(server: ServerProcess, *, header: bool) -> tuple[str, int]:
    """The sentence and the seconds to wait, with which a short deadline or timeout is refused."""
    headers = {"Retort-Timeout-Ms": str(SHORT_MS)} if header else {}
    parameters = {} if header else {"timeout": SHORT_MS * 1000}
    answer = server.http.post(URL, content=body(1, **parameters), headers=headers)
    assert answer.status_code == 503, answer.text
    return answer.json()["error"], int(answer.headers["retry-after"])


def over_grpc(server: ServerProcess, *, deadline: bool) -> tuple[str, int]:
    """The same over gRPC; its deadline leaves the refusal time to come back."""
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend(ROW)
    if not deadline:
        request.parameters["timeout"].int64_param = SHORT_MS * 1000
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ServerLive(service_pb2.ServerLiveRequest())  # connects
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(request, timeout=DEADLINE_S if deadline else None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, refused.value
    trailing = dict(refused.value.trailing_metadata())
    return refused.value.details(), int(trailing["retry-after"])


WAYS: dict[str, tuple[Ask, str, str]] = {
    "Retort-Timeout-Ms": (partial(over_http, header=True), "deadline", "the deadline cannot be met"),
    "gRPC's deadline": (partial(over_grpc, deadline=True), "deadline", "the deadline cannot be met"),
    "timeout over HTTP": (partial(over_http, header=False), "timeout", "the timeout would pass in the queue"),
    "timeout over gRPC": (partial(over_grpc, deadline=False), "timeout", "the timeout would pass in the queue"),
}


def test_what_cannot_be_met_is_refused_before_it_runs(server: ServerProcess) -> None:
    rows = counter(server, "nv_inference_count")
    with busy(server):
        for way, (ask, reason, sentence) in WAYS.items():
            before = counter(server, "retort_refused", reason)
            told, retry_after_s = ask(server)
            assert sentence in told, way
            assert 1 <= retry_after_s <= 60, way
            assert counter(server, "retort_refused", reason) == before + 1, way
    assert counter(server, "nv_inference_count") == rows + LONG_ROWS, "no row of theirs was run"


def test_control_what_can_be_met_is_answered(server: ServerProcess) -> None:
    for _ in range(3):  # the engine is idle
        answer = server.http.post(URL, content=body(1, timeout=SHORT_MS * 1000), headers={"Retort-Timeout-Ms": "60000"})
        assert answer.status_code == 200


def test_who_leaves_over_http_is_dropped_before_it_runs(server: ServerProcess) -> None:
    """Half of twenty clients leave while the engine is busy: the rows of the other half are all that is run."""
    rows, clients = counter(server, "nv_inference_count"), 20
    with ExitStack() as open_ones:
        with busy(server):
            waiting = counter(server, PENDING)
            sockets = [socket.create_connection(("127.0.0.1", server.port), 60) for _ in range(clients)]
            for one in sockets:
                open_ones.callback(one.close)
                one.sendall(post(URL, body(1)))
            until(lambda: counter(server, PENDING) >= waiting + clients)
            for one in sockets[::2]:
                one.close()
            until(lambda: counter(server, PENDING) <= waiting + clients // 2)
        assert [one.recv(12) for one in sockets[1::2]] == [b"HTTP/1.1 200"] * (clients // 2)
    assert counter(server, "nv_inference_count") == rows + LONG_ROWS + clients // 2
