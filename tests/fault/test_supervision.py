"""What clients and orchestrators see of a batch loop that breaks and of a runner that freezes (R1, R2, R3).

A server process of its own, over real sockets; how soon it must be is held exactly by the tests in manual time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.overload import INFER_JSON, MODEL, write_repository
from tests.support.process import ServerProcess
from tests.support.waiting import until

PATIENCE_S = 20.0  # for a machine that does other things beside; what is waited for takes two seconds at most


class Served:
    """A server with faults, and its clients.

    Args:
        faults: the folder whose files are the faults.
    """

    def __init__(self, server: ServerProcess, faults: Path) -> None:
        self.server = server
        self.faults = faults
        self._channel = grpc.insecure_channel(server.grpc)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._clients = ThreadPoolExecutor(4)

    def ask(self) -> Future[httpx.Response]:
        """An inference on a connection of its own."""
        url = f"{self.server.url}/v2/models/{MODEL}/infer"
        return self._clients.submit(lambda: httpx.post(url, content=INFER_JSON, timeout=PATIENCE_S))

    def readiness(self) -> tuple[int, bool]:
        """HTTP's status of /v2/health/ready, and gRPC's ServerReady."""
        ready = self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PATIENCE_S).ready
        return self.server.http.get("/v2/health/ready").status_code, ready

    def live(self) -> int:
        """HTTP's status of /v2/health/live."""
        return self.server.http.get("/v2/health/live").status_code

    def pending(self) -> int:
        """Requests that the model has not answered."""
        lines = self.server.http.get("/metrics").text.splitlines()
        return int(next(line for line in lines if line.startswith("nv_inference_pending")).rpartition(" ")[2])

    def close(self) -> None:
        self._clients.shutdown()
        self._channel.close()


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    faults = folder / "faults"
    faults.mkdir()
    repository = write_repository(folder / "repository")
    program = ("tests.support.faulty_server", str(faults))
    with ServerProcess(["--repository", str(repository)], folder, program=program) as server:
        clients = Served(server, faults)
        yield clients
        for fault in faults.iterdir():
            fault.unlink()
        clients.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("supervision")) as clients:
        yield clients


def test_control_without_a_fault_it_stays_ready(served: Served) -> None:
    assert served.ask().result(PATIENCE_S).status_code == 200
    began_s = time.monotonic()
    while time.monotonic() - began_s < 1.0:
        assert served.readiness() == (200, True)


def test_a_batch_loop_that_breaks_fails_who_waits_at_once_and_is_back(served: Served) -> None:
    """The runner freezes first, so that nothing but the break can end the requests that wait."""
    assert served.readiness() == (200, True)
    (served.faults / "freeze").touch()
    waiting = [served.ask(), served.ask()]
    until(lambda: served.pending() >= len(waiting), "both requests are in the queue or run")
    (served.faults / "raise").touch()
    waiting.append(served.ask())  # which has the loop turn
    off_s = until(lambda: served.readiness() == (503, False), "readiness off, over HTTP and gRPC")
    answers = [one.result(PATIENCE_S) for one in waiting]
    assert (served.faults / "freeze").exists(), "the run under way has not ended, and they have"
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert "recovering from a failure" in answers[0].json()["error"]
    assert served.live() == 200
    (served.faults / "freeze").unlink()
    on_s = until(lambda: served.readiness() == (200, True), "readiness on again")
    assert served.ask().result(PATIENCE_S).status_code == 200
    print(f"R1: ready off after {off_s:.2f} s, on again {on_s:.2f} s later")  # noqa: T201 - shown by `pytest -rP`


def test_a_frozen_runner_turns_readiness_off_and_its_recovery_on(served: Served) -> None:
    assert served.readiness() == (200, True)
    (served.faults / "freeze").touch()
    waiting = served.ask()
    off_s = until(lambda: served.readiness() == (503, False), "readiness off, over HTTP and gRPC")
    assert served.live() == 200
    assert not waiting.done()
    (served.faults / "freeze").unlink()
    on_s = until(lambda: served.readiness() == (200, True), "readiness on again")
    assert waiting.result(PATIENCE_S).status_code == 200
    print(f"R3: ready off after {off_s:.2f} s, on again after {on_s:.2f} s")  # noqa: T201


def test_a_batch_loop_that_breaks_again_and_again_ends_the_process(tmp_path: Path) -> None:
    with serving(tmp_path) as dying:
        (dying.faults / "raise-always").touch()
        broken = dying.ask()
        assert dying.server.process.wait(PATIENCE_S) == 1
        assert broken.exception(PATIENCE_S) is not None or broken.result().status_code == 503
        assert "the third crash within a minute" in dying.server.log()
