"""What ends a model's process ends no request and no server (promises I1 to I4); without isolation it ends both."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import yaml

from tests.fault.test_swap_under_traffic import DIGITS, RATE_PER_S, Golden
from tests.support.openloop import drive, percentile
from tests.support.process import ServerProcess
from tests.support.waiting import until
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import alive

MIB = 1 << 20
SETTLES_S = 20
FAMILY = "FAMILY"


def processes_of(server: ServerProcess) -> list[psutil.Process]:
    """The model's, without the cradle they come from."""
    [cradle] = psutil.Process(server.process.pid).children()
    return [one for one in cradle.children() if alive(one)]


@contextmanager
def serving(folder: Path, isolation: object | None) -> Iterator[ServerProcess]:
    """A server with the models `divides` and `takes`, which harm whoever runs them."""
    for model in (crashes.divides, crashes.takes):
        version = folder / "repository" / model.__name__ / "1"
        version.mkdir(parents=True)
        (version / "model.onnx").write_bytes(model())
        config = {} if isolation is None else {"isolation": isolation}
        (version.parent / "model.yaml").write_text(json.dumps({"threads": 1, **config}))
    environment = {"RETORT_RUN_TIMEOUT_S": "0.5"} if isolation else {}
    with ServerProcess(["--repository", str(folder / "repository")], folder, env=environment) as server:
        yield server


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all that it survives."""
    with serving(tmp_path_factory.mktemp("isolated"), {"process": {"memory_bytes": 256 * MIB}}) as server:
        yield server


def divide(server: ServerProcess, *rows: int) -> httpx.Response:
    return ask(server, "divides", {"name": "x", "shape": [len(rows), 1], "datatype": "INT64", "data": list(rows)})


def take(server: ServerProcess, floats: int) -> httpx.Response:
    return ask(server, "takes", {"name": "n", "shape": [1], "datatype": "INT64", "data": [floats]})


def ask(server: ServerProcess, model: str, tensor: dict[str, Any]) -> httpx.Response:
    return server.http.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]})


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["outputs"][0]["data"]


@contextmanager
def digits(folder: Path, isolation: object, instances: int = 1) -> Iterator[ServerProcess]:
    """A server of the shipped model, isolated."""
    shutil.copytree(DIGITS, folder / "repository" / "digits")
    config_file = folder / "repository" / "digits" / "model.yaml"
    own = {"versions": "active", "threads": 1, "isolation": isolation, "instances": instances}
    config_file.write_text(yaml.safe_dump({**yaml.safe_load(config_file.read_text()), **own}))
    with ServerProcess(["--repository", str(folder / "repository")], folder, env={FAMILY: str(folder)}) as server:
        yield server


def family(folder: Path) -> list[psutil.Process]:
    """The cradle and every process of a model, those whose cradle has died included."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "service.runtime.isolation.cradle" in process.cmdline() and process.environ().get(FAMILY) == str(folder):
                found.append(process)
    return found


async def driven(server: ServerProcess, seconds: int, kill: Callable[[], None]) -> float:
    """Requests, all answered right, while another thread kills; how long the slowest took, in seconds."""
    golden = Golden()
    await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=RATE_PER_S)
    killing = threading.Thread(target=kill)
    killing.start()
    outcomes = await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=RATE_PER_S * seconds)
    await asyncio.to_thread(killing.join)
    for outcome in outcomes:
        golden.version_of(outcome)  # 200, and the right answer
    latencies_s = [outcome.latency_s for outcome in outcomes]
    print(  # noqa: T201 - shown by `pytest -rP`, for docs/adr
        f"I1: {len(outcomes)} answers, slowest {max(latencies_s) * 1e3:.0f} ms, "
        f"p99 {percentile(latencies_s, 99) * 1e3:.1f} ms, p50 {percentile(latencies_s, 50) * 1e3:.2f} ms"
    )
    assert server.http.get("/v2/health/ready").status_code == 200
    return max(latencies_s)


def restarts(server: ServerProcess) -> int:
    lines = server.http.get("/metrics").text.splitlines()
    return next(int(line.rpartition(" ")[2]) for line in lines if line.startswith("retort_process_restarts{"))


@pytest.mark.parametrize(
    ("seconds", "slowest_s"),
    [(4, 10.0), pytest.param(30, 1.0, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
async def test_a_process_killed_every_second_costs_no_request(tmp_path: Path, seconds: int, slowest_s: float) -> None:
    killed: list[int] = []
    with digits(tmp_path, "process") as server:

        def kill() -> None:
            begin_s = time.monotonic()
            for turn in range(seconds):
                time.sleep(max(0.0, begin_s + turn + 0.5 - time.monotonic()))
                until(lambda: processes_of(server) != [], "there is no process to kill")
                for process in processes_of(server):
                    process.send_signal(signal.SIGKILL if turn % 2 else signal.SIGSEGV)
                    killed.append(process.pid)

        assert await driven(server, seconds, kill) <= slowest_s
        assert len(killed) >= seconds - 1
        assert restarts(server) >= len(killed) - 1


@pytest.mark.slow
async def test_whichever_process_is_killed_the_cradle_among_them_costs_no_request(tmp_path: Path) -> None:
    chance = random.Random(1)
    killed: list[int] = []
    with digits(tmp_path, {"process": {"spare": True}}, instances=2) as server:

        def kill() -> None:
            for _ in range(30):
                time.sleep(chance.uniform(0.2, 1.5))
                with suppress(psutil.NoSuchProcess, IndexError):
                    process = chance.choice(family(tmp_path))
                    process.send_signal(chance.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT]))
                    killed.append(process.pid)

        await driven(server, 28, kill)
        assert len(killed) > 15
        assert restarts(server) > 5


def test_a_row_that_ends_the_process_is_an_error_and_the_server_lives(isolated: ServerProcess) -> None:
    for _ in range(3):
        refused = divide(isolated, crashes.KILLER)
        assert refused.status_code == 500
        assert refused.json()["error"] == "the model's process died while it ran this request"
        until(lambda: both_answer(isolated), "they do not answer")
    assert isolated.http.get("/v2/health/ready").status_code == 200


def peak_mib(server: ServerProcess) -> int:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def test_its_end_is_told_in_the_log(isolated: ServerProcess) -> None:
    assert divide(isolated, crashes.KILLER).status_code == 500
    until(lambda: "its process died" in isolated.log(), "nothing in the log")
    lines = [json.loads(line) for line in isolated.log().splitlines() if "its process died" in line]
    told = "version '1' of model 'divides': its process died: it ended, signal 8 (SIGFPE); 1 so far"
    assert (lines[0]["level"], lines[0]["event"]) == ("warning", told)


def test_a_request_that_wants_much_memory_gets_none_of_the_servers(isolated: ServerProcess) -> None:
    before_mib = peak_mib(isolated)
    refused = take(isolated, 128 * MIB)  # 512 MiB of floats
    assert refused.status_code == 500
    assert refused.json()["error"] == "there is not enough memory for this run"
    assert peak_mib(isolated) - before_mib < 64
    until(lambda: both_answer(isolated), "they do not answer")


def test_a_process_that_hangs_is_ended_and_no_thread_is_left_behind(isolated: ServerProcess) -> None:
    until(lambda: both_answer(isolated), "they do not answer")
    threads = psutil.Process(isolated.process.pid).num_threads()
    for _ in range(3):  # the third engine given up would end the server
        until(lambda: both_answer(isolated), "they do not answer")  # so none is on its way
        hanging = processes_of(isolated)
        for process in hanging:
            os.kill(process.pid, signal.SIGSTOP)
        refused = take(isolated, 7)
        assert refused.status_code == 503
        assert "the run took longer than 0.5 s" in refused.json()["error"]
        until(lambda: both_answer(isolated), "they do not come back")
        until(lambda stopped=hanging: not any(map(alive, stopped)), "a process was left behind")  # type: ignore[misc]
    until(lambda: psutil.Process(isolated.process.pid).num_threads() <= threads, "a thread was left behind")


def both_answer(server: ServerProcess) -> bool:
    """Whether both models answer, and rightly; a run that the machine holds up is ended, too."""
    divided, taken = divide(server, 3, 4), take(server, 7)
    if {divided.status_code, taken.status_code} != {200}:
        return False
    return answered(taken) == [7] and answered(divided) == crashes.quotients(np.array([[3], [4]])).ravel().tolist()


def test_control_without_isolation_the_server_pays_and_ends(tmp_path: Path) -> None:
    with serving(tmp_path, None) as server:
        before_mib = peak_mib(server)
        assert take(server, 128 * MIB).status_code == 200
        assert peak_mib(server) - before_mib > 400
        assert answered(divide(server, 3))
        with pytest.raises(httpx.TransportError):
            divide(server, crashes.KILLER)
        assert server.process.wait(SETTLES_S) == -signal.SIGFPE


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_server(tmp_path: Path, how: signal.Signals) -> None:
    with serving(tmp_path, "process") as server:
        everybody = psutil.Process(server.process.pid).children(recursive=True)
        assert len(everybody) == 3
        os.kill(processes_of(server)[0].pid, signal.SIGSTOP)  # one hangs
        server.process.send_signal(how)
        assert server.process.wait(SETTLES_S) == (0 if how is signal.SIGTERM else -how)
        until(lambda: not any(map(alive, everybody)), "a process of the model outlived the server")
