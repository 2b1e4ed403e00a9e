"""Told twice to end, a server ends well whatever its models are doing (promise S2)."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.openloop import post
from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.unit.runtime import graphs

PENDING = 'nv_inference_pending_request_count{model="endless",version="1"} 2'


def endless() -> bytes:
    """Multiplies matrices as often as it is told, in a loop that hears of a request to stop late."""
    value, weights = graphs.value, numpy_helper.from_array(np.zeros((200, 200), np.float32), "w")
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["next"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [
            value("turn", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("x", TensorProto.FLOAT, None),
        ],
        [value("on", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, None)],
    )
    shape = numpy_helper.from_array(np.array([200, 200]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["start"]),
        helper.make_node("Loop", ["n", "", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["y"], keepdims=0),
    ]
    inputs, outputs = [value("n", TensorProto.INT64, [])], [value("y", TensorProto.FLOAT, [])]
    return graphs.model(nodes, inputs, outputs, [shape, weights])


def request(turns: int) -> bytes:
    tensor = {"name": "n", "shape": [], "datatype": "INT64", "data": [turns]}
    return post("/v2/models/endless/infer", json.dumps({"inputs": [tensor]}).encode())


def test_a_second_signal_ends_the_server_well_under_a_run_that_does_not_stop(tmp_path: Path) -> None:
    """Without a hard end the interpreter unwinds the run's thread when that comes back, and the process aborts."""
    (tmp_path / "endless.onnx").write_bytes(endless())
    environment = {"RETORT_TRIAL_MEMORY_BYTES": "0", "RETORT_DRAIN_TIMEOUT_S": "60"}
    with (
        ServerProcess([str(tmp_path / "endless.onnx")], tmp_path, env=environment) as server,
        socket.create_connection(("127.0.0.1", server.port)) as one,
        socket.create_connection(("127.0.0.1", server.port)) as other,
    ):
        for client in (one, other):
            client.sendall(request(2**40))
        until(lambda: PENDING in server.http.get("/metrics").text, "the requests never ran")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: '"stopping"' in server.log(), "it did not hear the first signal")
        assert server.terminate() == 0
        assert "terminate called" not in server.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_that_come_after_the_end_change_nothing_of_it(tmp_path: Path, number: signal.Signals) -> None:
    with ServerProcess([], tmp_path) as server:
        server.process.send_signal(number)
        until(lambda: '"stopped"' in server.log(), "it did not stop")
        while server.process.poll() is None:
            server.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(0.02)
        assert server.process.returncode == 0
        assert "Traceback" not in server.log()


def test_a_terminal_that_hangs_up_ends_a_server_without_keys_well(tmp_path: Path) -> None:
    """Its default would end it at once, with whatever is in flight."""
    with ServerProcess([], tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(20) == 0
        assert '"stopped"' in server.log()


def test_one_that_is_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    with ServerProcess([], tmp_path, within=["nohup"]) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.http.get("/v2/health/ready").status_code == 200
        assert server.terminate() == 0
