"""What ends a model's process ends no request and no server (promises I1 to I4); without isolation it ends both."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import alive

MIB = 1 << 20
SETTLES_S = 20


def processes_of(server: ServerProcess) -> list[psutil.Process]:
    """The model's, without the cradle they come from."""
    [cradle] = psutil.Process(server.process.pid).children()
    return [one for one in cradle.children() if alive(one)]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + SETTLES_S
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


@contextmanager
def serving(
    folder: Path, onnx: Callable[[], bytes], isolation: object | None, env: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """A server with one model, `m`."""
    version = folder / "repository" / "m" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(onnx())
    config = {} if isolation is None else {"isolation": isolation}
    (version.parent / "model.yaml").write_text(json.dumps({"threads": 1, **config}))
    with ServerProcess(["--repository", str(folder / "repository")], folder, env=env) as server:
        yield server


def ask(server: ServerProcess, name: str, shape: list[int], *values: int) -> httpx.Response:
    tensor = {"name": name, "shape": shape, "datatype": "INT64", "data": list(values)}
    return server.http.post("/v2/models/m/infer", json={"inputs": [tensor]})


def answered(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("seconds", "slowest_s"),
    [(5, 3.0), pytest.param(30, 1.0, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
async def test_a_process_killed_every_second_costs_no_request(tmp_path: Path, seconds: int, slowest_s: float) -> None:
    shutil.copytree(DIGITS, tmp_path / "repository" / "digits")
    config_file = tmp_path / "repository" / "digits" / "model.yaml"
    config = yaml.safe_load(config_file.read_text())
    config_file.write_text(yaml.safe_dump({**config, "versions": "active", "threads": 1, "isolation": "process"}))
    golden = Golden()
    with ServerProcess(["--repository", str(tmp_path / "repository")], tmp_path) as server:
        await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=200)
        killed: list[int] = []

        def kill() -> None:
            begin_s = time.monotonic()
            for turn in range(seconds):
                time.sleep(max(0.0, begin_s + turn + 0.5 - time.monotonic()))
                for process in processes_of(server):
                    os.kill(process.pid, signal.SIGKILL if turn % 2 else signal.SIGSEGV)
                    killed.append(process.pid)

        killing = threading.Thread(target=kill)
        killing.start()
        outcomes = await drive(server.port, golden.request, rate_per_s=RATE_PER_S, count=RATE_PER_S * seconds)
        await asyncio.to_thread(killing.join)
        restarts = [line for line in server.http.get("/metrics").text.splitlines() if "process_restarts{" in line]
        assert server.http.get("/v2/health/ready").status_code == 200
    for outcome in outcomes:
        golden.version_of(outcome)  # 200, and the right answer
    latencies_s = [outcome.latency_s for outcome in outcomes]
    print(  # noqa: T201 - shown by `pytest -rP`, for docs/promises.md
        f"I1: {len(killed)} kills, {len(outcomes)} answers, slowest {max(latencies_s) * 1e3:.0f} ms, "
        f"p99 {percentile(latencies_s, 99) * 1e3:.1f} ms, p50 {percentile(latencies_s, 50) * 1e3:.2f} ms"
    )
    assert len(killed) >= seconds - 1
    assert int(restarts[0].rpartition(" ")[2]) >= len(killed) - 1
    assert max(latencies_s) <= slowest_s


def test_a_row_that_ends_the_process_is_an_error_and_the_server_lives(tmp_path: Path) -> None:
    with serving(tmp_path, crashes.divides, "process") as server:
        for _ in range(3):
            refused = ask(server, "x", [1, 1], crashes.KILLER)
            assert refused.status_code == 500
            assert refused.json()["error"] == "the model's process died while it ran this request"
            assert answered(ask(server, "x", [2, 1], 3, 4)) == crashes.quotients(np.array([[3], [4]])).ravel().tolist()
        assert server.http.get("/v2/health/ready").status_code == 200


def test_control_the_same_row_ends_a_server_without_isolation(tmp_path: Path) -> None:
    with serving(tmp_path, crashes.divides, None) as server:
        assert answered(ask(server, "x", [1, 1], 3))
        with pytest.raises(httpx.TransportError):
            ask(server, "x", [1, 1], crashes.KILLER)
        assert server.process.wait(SETTLES_S) == -signal.SIGFPE


def peak_mib(pid: int) -> int:
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "control"])
def test_a_request_that_wants_much_memory_gets_none_of_the_servers(tmp_path: Path, isolated: bool) -> None:
    bound = {"process": {"memory_bytes": 256 * MIB}} if isolated else None
    with serving(tmp_path, crashes.takes, bound) as server:
        before_mib = peak_mib(server.process.pid)
        response = ask(server, "n", [1], 128 * MIB)  # 512 MiB of floats
        grown_mib = peak_mib(server.process.pid) - before_mib
        assert answered(ask(server, "n", [1], 1000)) == [1000]
    if isolated:
        assert response.status_code == 500
        assert response.json()["error"] == "there is not enough memory for this run"
        assert grown_mib < 64
    else:
        assert response.status_code == 200
        assert grown_mib > 400


def test_a_process_that_hangs_is_ended_and_no_thread_is_left_behind(tmp_path: Path) -> None:
    with serving(tmp_path, crashes.takes, "process", {"RETORT_RUN_TIMEOUT_S": "1"}) as server:
        answered(ask(server, "n", [1], 7))
        threads = psutil.Process(server.process.pid).num_threads()
        for _ in range(3):  # the third engine given up would end the server
            [hanging] = processes_of(server)
            os.kill(hanging.pid, signal.SIGSTOP)
            refused = ask(server, "n", [1], 7)
            assert refused.status_code == 503
            assert "the run took longer than 1 s" in refused.json()["error"]
            assert answered(ask(server, "n", [1], 7)) == [7]
            until(lambda process=hanging: not alive(process), "the process was left behind")  # type: ignore[misc]
        assert psutil.Process(server.process.pid).num_threads() <= threads + 1  # one that ends just now


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_server(tmp_path: Path, how: signal.Signals) -> None:
    with serving(tmp_path, crashes.takes, "process") as server:
        everybody = psutil.Process(server.process.pid).children(recursive=True)
        assert len(everybody) == 2
        server.process.send_signal(how)
        assert server.process.wait(SETTLES_S) == (0 if how is signal.SIGTERM else -how)
        until(lambda: not any(map(alive, everybody)), "a process of the model outlived the server")
