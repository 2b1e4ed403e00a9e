"""The end of a server whose gRPC clients hold streams open: they are told, and keep nobody waiting."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import grpc
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY

DRAIN_S = 30.0  # what an idle stream would cost if the server waited for it


def test_open_streams_and_watches_end_with_the_server(tmp_path: Path) -> None:
    environment = {"RETORT_DRAIN_TIMEOUT_S": str(DRAIN_S)}
    with ServerProcess(["--repository", str(REPOSITORY)], tmp_path, env=environment) as server:
        ended: queue.Queue[object] = queue.Queue()
        client = triton.InferenceServerClient(server.grpc)
        client.start_stream(lambda result, error: ended.put(error))
        client.async_stream_infer("none", [])
        assert "there is no model" in str(ended.get(timeout=20))  # the stream is open
        with grpc.insecure_channel(server.grpc) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            # The client drops what it was not waiting for when the end of a call comes.
            told: queue.Queue[int] = queue.Queue()
            reader = threading.Thread(target=lambda: [told.put(one.status) for one in watch])
            reader.start()
            began_s = time.monotonic()
            assert server.terminate() == 0
            assert time.monotonic() - began_s < DRAIN_S / 3
            reader.join(20)
            assert told.get_nowait() == health_pb2.HealthCheckResponse.NOT_SERVING
        assert "UNAVAILABLE" in str(ended.get(timeout=20))
        client.close()
