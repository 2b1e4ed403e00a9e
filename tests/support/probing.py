"""Health checks over both transports beside a load that has no room for its own, each timed from when it was due."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.process import ServerProcess

PROBES_PER_S = 20.0
_READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


class Prober:
    """Asks a server while the `with` block lasts, in a thread.

    Args:
        server: asked for its health.

    Attributes:
        took_s: of each check, in turn over gRPC and HTTP.
    """

    def __init__(self, server: ServerProcess) -> None:
        self.took_s: list[float] = []
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def latencies_s(self) -> np.ndarray[Any, Any]:
        """Of all checks."""
        return np.array(self.took_s)

    def _ask(self) -> None:
        with (
            grpc.insecure_channel(self._server.grpc) as channel,
            socket.create_connection(("127.0.0.1", self._server.port), timeout=30) as connection,
        ):
            live = service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive

            def ready() -> None:
                connection.sendall(_READY)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += connection.recv(4096)

            def alive() -> None:
                live(service_pb2.ServerLiveRequest(), timeout=30)

            alive()
            due_s = time.monotonic()
            while not self._over.is_set():
                for ask in (alive, ready):
                    ask()
                    self.took_s.append(time.monotonic() - due_s)
                    due_s = max(due_s + 1 / PROBES_PER_S, time.monotonic())
                    time.sleep(max(0.0, due_s - time.monotonic()))
