"""A real server whose every gRPC place is taken by calls half sent (promise H1): good calls go on, and all are let go.

Its control, the same without the times, is in tests/unit/gateway/grpc/test_half_sent.py.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.support.http2 import SETTLED, Calls, half_sent
from tests.support.process import ServerProcess
from tests.wire.conftest import REPOSITORY
from tests.wire.digits import INPUT, ROWS

CONNECTIONS, CALLS_EACH = 4, 1024  # every call that there may be
MIB, SLOW = 1 << 20, 40
SETTINGS = {"RETORT_MAX_BODY_BYTES": str(MIB), "RETORT_MAX_IN_FLIGHT_BYTES": str(SLOW * MIB)}
LIMIT_S = 10.0
TRIES = 3  # where the machine stands still for long, calls end by their own time
REFUSED = ("", str(grpc.StatusCode.RESOURCE_EXHAUSTED), str(grpc.StatusCode.UNAVAILABLE))


class Attack:
    """The half calls, whose ends a thread counts."""

    def __init__(self, server: ServerProcess) -> None:
        self._told = [Calls() for _ in range(CONNECTIONS)]
        self._over = threading.Event()
        self._sockets = []
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", int(server.grpc.rsplit(":", 1)[1])), timeout=30)
            connection.sendall(SETTLED + half_sent(CALLS_EACH))
            self._sockets.append(connection)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def left(self) -> int:
        """Calls that the server has not ended."""
        return CONNECTIONS * CALLS_EACH - sum(len(calls.ended) for calls in self._told)

    def close(self) -> None:
        """Leaves."""
        self._over.set()
        self._reader.join()
        for connection in self._sockets:
            connection.close()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for connection, calls in zip(self._sockets, self._told, strict=True):
                selector.register(connection, selectors.EVENT_READ, calls)
            while not self._over.is_set():
                for ready, _ in selector.select(0.05):
                    ready.data.read(ready.fileobj.recv(1 << 16))  # type: ignore[union-attr]


@contextmanager
def attacked(folder: Path) -> Iterator[tuple[ServerProcess, Attack, triton.InferenceServerClient]]:
    with ServerProcess(["--repository", str(REPOSITORY)], folder, env=SETTINGS) as server:
        client = triton.InferenceServerClient(server.grpc)
        attack = Attack(server)
        try:
            yield server, attack, client
        finally:
            attack.close()
            client.close()


def good(client: triton.InferenceServerClient) -> str:
    """How a good call ends: "" for well."""
    tensor = triton.InferInput(INPUT, [1, 1, 8, 8], "FP32")
    tensor.set_data_from_numpy(ROWS[:1].astype("f4"))
    try:
        client.infer("digits", [tensor], client_timeout=30)
    except InferenceServerException as error:
        return str(error.status())
    return ""


def test_places_taken_by_half_calls_are_free_again_in_seconds(tmp_path: Path) -> None:
    assert any(free_in_seconds(tmp_path) for _ in range(TRIES))


def free_in_seconds(folder: Path) -> bool:
    """Whether good calls are answered while as many half calls stay as there is room for: before their time is over."""
    with attacked(folder) as (_, attack, client):
        began_s = time.monotonic()
        while attack.left > SLOW:
            assert good(client) in REFUSED  # on starved cores its own message may seem slow
            assert time.monotonic() - began_s < 6 * LIMIT_S
            time.sleep(0.02)
        took_s = time.monotonic() - began_s
        print(f"all but {SLOW} gone after {took_s:.2f} s")  # noqa: T201
        for _ in range(20):
            assert good(client) == ""
        return took_s < 0.9 * LIMIT_S and attack.left == SLOW


@pytest.mark.slow
def test_half_calls_are_let_go_in_their_time_while_good_traffic_goes_on(tmp_path: Path) -> None:
    with attacked(tmp_path) as (server, attack, client):
        took_s, began_s = [], time.monotonic()
        while attack.left:
            assert time.monotonic() - began_s < LIMIT_S + 10
            asked_s = time.monotonic()
            if good(client) == "":
                took_s.append(time.monotonic() - asked_s)
            time.sleep(0.02)
        gone_s = time.monotonic() - began_s
        print(f"all gone after {gone_s:.1f} s; slowest of {len(took_s)} good calls {max(took_s):.3f} s")  # noqa: T201
        counted = server.http.get("/metrics").text
        assert f'retort_grpc_calls{{code="DEADLINE_EXCEEDED"}} {SLOW}' in counted
        assert f'retort_grpc_calls{{code="UNAVAILABLE"}} {CONNECTIONS * CALLS_EACH - SLOW}' in counted
        assert max(took_s) < 2
