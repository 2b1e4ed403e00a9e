"""Thousands of calls at once: those of others are answered, or refused as what they are; health checks do not wait."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.http2 import INFER, SETTLED, whole
from tests.support.openloop import percentile
from tests.support.process import ServerProcess

CONNECTIONS, CALLS_EACH = 4, 1000  # below the server's limit of calls; gRPC's own of waiting calls is 3000
MINE = 300
PROMISED_S = 0.05  # O7c
CROWD_S = 0.3  # that another call waits in one
FLOOD_S, FLOODS = 3.0, 5  # what is asked before a flood is read has no crowd before it, and machines stand still
LIVE = b"/inference.GRPCInferenceService/ServerLive"


@contextmanager
def flooded(server: ServerProcess, path: bytes, message: bytes = b"") -> Iterator[Any]:
    """A stub of `server`, to which so many calls were sent a moment ago."""
    host, port = server.grpc.rsplit(":", 1)
    calls = SETTLED + whole(CALLS_EACH, path, message)
    with ExitStack() as open_ones, grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerLive(service_pb2.ServerLiveRequest()).live
        for _ in range(CONNECTIONS):
            open_ones.enter_context(socket.create_connection((host, int(port)))).sendall(calls)
        yield stub


def test_a_flood_of_calls_cancels_no_call_of_another_client(server: ServerProcess) -> None:
    with flooded(server, LIVE) as stub:
        mine = [stub.ServerLive.future(service_pb2.ServerLiveRequest(), timeout=60) for _ in range(MINE)]
        codes = Counter(call.code().name for call in mine)
    assert codes == {"OK": MINE}, codes


def test_a_crowd_of_calls_keeps_no_health_check_waiting(server: ServerProcess) -> None:
    """O7; a call of another kind is the control: it waits until its turn comes."""
    server.http.get("/v2/health/ready")
    assert any(is_prompt_in(*crowded(server)) for _ in range(FLOODS))


def is_prompt_in(waited_s: float, took_s: list[float]) -> bool:
    """Whether there was a crowd, and health checks did not wait in it as the other call did."""
    most_s = percentile(took_s, 95)
    print(f"95 of 100 of {len(took_s)} checks within {most_s:.3f} s, the other call {waited_s:.3f} s")  # noqa: T201
    return waited_s >= CROWD_S and most_s < max(PROMISED_S, waited_s / 3)


def crowded(server: ServerProcess) -> tuple[float, list[float]]:
    """A flood: how long another call waited in it, and the health checks meanwhile; short where it came before it."""
    message = service_pb2.ModelInferRequest(model_name="none").SerializeToString()
    waited_s, took_s, end_s = 0.0, [0.0], time.monotonic() + FLOOD_S
    with flooded(server, INFER, message) as stub:
        while waited_s < CROWD_S and time.monotonic() < end_s:
            began_s, took_s = time.monotonic(), []
            other = stub.ServerMetadata.future(service_pb2.ServerMetadataRequest(), timeout=60)
            while not other.done():
                for ask in (lambda: stub.ServerReady(service_pb2.ServerReadyRequest()), health_of(server)):
                    asked_s = time.monotonic()
                    ask()
                    took_s.append(time.monotonic() - asked_s)
            waited_s = time.monotonic() - began_s
            assert other.result().name == "retort"
    return waited_s, took_s


def health_of(server: ServerProcess) -> Any:
    return lambda: server.http.get("/v2/health/ready").raise_for_status()
