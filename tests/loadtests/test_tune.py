"""`retort tune` with servers of its own on digits: finds a planted mistake, and leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from loadtests.server import CannotLoad
from loadtests.tune.servers import Servers
from loadtests.verdict import MOST_LAG_MS

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "models" / "repository" / "digits"
TUNE = [sys.executable, "-c", "from loadtests.commands.tune import app; app()"]
# A batch that may grow waits 60 ms: at a low rate every request does.
MISTAKE = "# Ours.\nactive: 1 # the full one\ndynamic_batching:\n  max_queue_delay_microseconds: 60000 # too long\n"
QUICK = "active: 1\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(DIGITS, tmp_path / "repository" / "digits")
    (tmp_path / "repository" / "digits" / "model.yaml").write_text(MISTAKE)
    return tmp_path / "repository"


def begin(repository: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TUNE, "digits", "--repository", str(repository), "--slo-p99-ms", "500", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tuned(repository: Path, out: Path) -> tuple[int, str]:
    """Exit code and all that was said of one whole run that may write."""
    running = begin(
        repository, "--objective", "latency", "--rate", "20", "--budget", "180", "--write", "--out", str(out)
    )
    printed, told = running.communicate(timeout=280)
    return running.returncode, printed + told


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_planted_mistake_is_found_and_only_its_key_is_edited(repository: Path, tmp_path: Path) -> None:
    """A run on a busy machine is invalid and changes nothing; it is tried again, and thrice invalid is a failure."""
    out = tmp_path / "out"
    for _ in range(3):
        code, printed = tuned(repository, out)
        document = json.loads((out / "tune.json").read_text())
        if code != 4:
            break
        assert document["generator_lag_p99_ms"] > MOST_LAG_MS
        assert (repository / "digits" / "model.yaml").read_text() == MISTAKE
    assert code == 0, printed
    assert document["better"] and document["interval"][0] > 1.5
    assert len(document["best"]) == 1, (
        printed
    )  # either a batch of one or no delay mends it; both would be more than is needed
    written = (repository / "digits" / "model.yaml").read_text()
    assert written == (out / "model.yaml").read_text()
    assert "max_queue_delay_microseconds: 60000" not in written
    assert written.startswith("# Ours.\nactive: 1 # the full one\n") and "# too long" in written
    assert "the speed at p99 is" in printed


def begun(repository: Path, said: str, *arguments: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run that has just said this, and the processes that it started until then."""
    running = begin(repository, "--objective", "latency", "--rate", "20", "--budget", "60", "--write", *arguments)
    assert running.stderr is not None
    seen = [""]
    while said not in seen[-1]:
        seen.append(running.stderr.readline())
        assert seen[-1], seen
    children = psutil.Process(running.pid).children(recursive=True)
    assert any("serve" in child.cmdline() for child in children)  # control: there was a server to be left
    return running, children


def assert_nothing_is_left(children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=20)
    for left in alive:
        left.kill()
    assert alive == []


@pytest.mark.slow
def test_an_interruption_tells_what_was_measured_writes_nothing_and_leaves_no_server(repository: Path) -> None:
    running, children = begun(repository, "started: max")
    running.send_signal(signal.SIGINT)
    printed, told = running.communicate(timeout=60)
    assert running.returncode == 130, printed + told
    assert "the search did not come to its end" in printed
    assert "Traceback" not in told
    assert_nothing_is_left(children)
    assert (repository / "digits" / "model.yaml").read_text() == MISTAKE


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGKILL,)], ids=["Ctrl-C twice", "kill -9"]
)
def test_an_end_in_a_hurry_leaves_no_server(repository: Path, signals: tuple[signal.Signals, ...]) -> None:
    (repository / "digits" / "model.yaml").write_text(QUICK)
    running, children = begun(repository, "started: as it is")
    for one in signals:
        running.send_signal(one)
        time.sleep(0.05)  # in the middle of what the first has begun; wherever it comes, nothing may be left
    running.communicate(timeout=60)
    assert running.returncode != 0
    assert_nothing_is_left(children)
    assert (repository / "digits" / "model.yaml").read_text() == QUICK


def test_a_second_ctrl_c_does_not_wait_for_servers_that_do_not_end(repository: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Servers(repository / "digits", ()) as servers:
        servers.start("")
        processes = [psutil.Process(pid) for pid in servers.pids]
        processes[0].suspend()  # it hears no SIGTERM
        second = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        second.start()  # the `with` block ends, and waits
    assert psutil.wait_procs(processes, timeout=20)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="instances and threads are tried where there are two cores"
)
def test_instances_and_threads_are_tried_where_servers_may_use_two_cores(repository: Path, tmp_path: Path) -> None:
    (repository / "digits" / "model.yaml").write_text(QUICK)
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    running = begin(repository, *("--budget", "90", "--server-cores", cores, "--out", str(tmp_path)))
    printed, told = running.communicate(timeout=200)
    document = json.loads((tmp_path / "tune.json").read_text())
    late = document["generator_lag_p99_ms"] > MOST_LAG_MS  # it shares a core with the servers
    assert running.returncode == (4 if late else 0), printed + told
    assert ("this run is invalid and proves nothing: the generator came" in printed) == late
    assert document["cores"] == [int(core) for core in cores.split(",")]
    tried = [one["settings"] for one in document["tried"]]
    assert {"instances": 2, "threads": 1} in tried and {"threads": 2} in tried, printed + told


def test_servers_differ_by_their_model_yaml_and_leave_with_the_block(repository: Path) -> None:
    with Servers(repository / "digits", (0,)) as servers:
        urls = [servers.start(f"max_batch_size: {rows}\n") for rows in (4, 8)]
        sizes = [httpx.get(f"{url}/v2/models/digits/config").json()["max_batch_size"] for url in urls]
        assert sizes == [4, 8]
        processes = [psutil.Process(pid) for pid in servers.pids]
        assert all(one.cpu_affinity() == [0] for one in processes)
        servers.end(urls[0])
        assert len(servers.pids) == 1
    assert psutil.wait_procs(processes, timeout=20)[1] == []


def test_a_configuration_that_cannot_be_served_is_told_in_a_sentence(repository: Path) -> None:
    with Servers(repository / "digits", ()) as servers, pytest.raises(CannotLoad, match=r"no_such_key|answers 4"):
        servers.start("no_such_key: 1\n")


def test_bad_calls_are_refused_before_anything_starts(repository: Path) -> None:
    for arguments, code, words in (
        (["nothing"], 1, "there is no model 'nothing'"),
        (["digits", "--rate", "5"], 2, "throughput looks for the rate itself"),
        (["digits", "--objective", "speed"], 2, "speed"),
        (["digits", "--server-cores", "one"], 2, "no list of cores"),
        (["digits", "--server-cores", "4096"], 2, "there is no core 4096"),
    ):
        done = subprocess.run(
            [*TUNE, *arguments, "--repository", str(repository)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert words in done.stderr
