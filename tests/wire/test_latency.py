"""A lone client, one image, binary, a core for the server: what serving adds to the model's own run."""

from __future__ import annotations

import json
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnxruntime
import pytest

from service.core.contract import Array
from tests.support.openloop import post
from tests.support.process import ServerProcess
from tests.wire import digits

REQUESTS = 3000
REPETITIONS = 3
ADDED_LIMIT_S = 0.35e-3


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def median_s(call: Callable[[], object], times: int = REQUESTS) -> float:
    """Median seconds of a call, after a tenth as many that do not count."""
    taken: list[float] = []
    for _ in range(times + times // 10):
        began_s = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began_s)
    return statistics.median(taken[times // 10 :])


def image_request(image: Array) -> bytes:
    parameters = {"binary_data_size": image.nbytes}
    entry = {"name": digits.INPUT, "shape": list(image.shape), "datatype": "FP32", "parameters": parameters}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return post(digits.INFER, head + image.tobytes(), headers)


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """One request and its answer, which comes in one piece or in two."""
    connection.sendall(request)
    answer = connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="server and client need a core each")
def test_a_lone_client_waits_little_longer_than_the_run_takes(tmp_path: Path) -> None:
    image = digits.ROWS[:1]
    server_core, client_core = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = digits.DIGITS / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    run_s, wire_s = [], []
    with (
        ServerProcess(["--threads", "1"], tmp_path, core=server_core) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = image_request(image)
        for _ in range(REPETITIONS):
            with on_core(server_core):
                run_s.append(median_s(lambda: session.run([digits.OUTPUT], {digits.INPUT: image})))
            with on_core(client_core):
                wire_s.append(median_s(lambda: exchange(connection, request)))
    added_s = statistics.median(wire_s) - statistics.median(run_s)
    print(  # noqa: T201 - shown by `pytest -rP`
        f"p50 over the wire {statistics.median(wire_s) * 1e3:.3f} ms, of the run {statistics.median(run_s) * 1e3:.3f} "
        f"ms: {added_s * 1e3:.3f} ms added"
    )
    assert added_s <= ADDED_LIMIT_S
