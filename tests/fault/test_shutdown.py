"""Told twice to end, a server ends well whatever its models are doing (promise S2)."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

from tests.support.openloop import post
from tests.support.process import ServerProcess
from tests.unit.runtime import graphs
from tests.unit.serving import models

DATATYPES = {"float32": "FP32", "int64": "INT64"}
PENDING = 'nv_inference_pending_request_count{model="endless",version="1"} 1'


def endless() -> bytes:
    """A request whose run takes longer than anybody waits."""
    inputs = [
        {"name": name, "shape": array.shape, "datatype": DATATYPES[array.dtype.name], "data": array.ravel().tolist()}
        for name, array in models.turns(2**40).items()
    ]
    return post("/v2/models/endless/infer", json.dumps({"inputs": inputs}).encode())


def test_a_second_signal_ends_the_server_well_under_a_run_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "endless.onnx").write_bytes(graphs.loop())
    environment = {"RETORT_TRIAL": "off", "RETORT_DRAIN_TIMEOUT_S": "60"}
    with (
        ServerProcess([str(tmp_path / "endless.onnx")], tmp_path, env=environment) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(endless())
        end_s = time.monotonic() + 20
        while PENDING not in server.http.get("/metrics").text:
            assert time.monotonic() < end_s, "the request never ran"
            time.sleep(0.05)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.terminate() == 0
        assert "terminate called" not in server.log()
