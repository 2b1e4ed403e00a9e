"""Trials in a child process: what passes, what dies there, and in which words (promise M5)."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper

from service.core import interpreter
from service.core.contract import Arrays
from service.core.errors import RunFailed, Stuck
from service.runtime import memory, trial, trial_child, trial_process
from service.runtime.providers import RunnerOptions
from service.runtime.trial import TrialResult, run_trial
from service.runtime.trial_process import TrialLimits, TrialProcess
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import EYE, WEIGHTS, value
from tests.unit.serving.models import reads_one_row_at_a_time, rows

CPU = RunnerOptions()
MIB = 1 << 20
ROW = {"x": np.ones((1, 64), np.float32)}


def limits(mib: int = 512, timeout_s: float = 30.0) -> TrialLimits:
    return TrialLimits(memory_bytes=mib * MIB, timeout_s=timeout_s)


def test_a_good_version_passes() -> None:
    feeds = [ROW, {"x": np.ones((32, 64), np.float32)}]
    assert run_trial(graphs.linear(), {}, feeds, CPU, limits()) == TrialResult(True, "")


def test_a_version_without_a_batch_axis_runs_its_feeds_alone() -> None:
    onnx = graphs.identity(shape=(2, 4))
    assert run_trial(onnx, {}, [{"x": np.ones((2, 4), np.float32)}], CPU, limits()) == TrialResult(True)


def test_everything_that_is_served_reaches_the_child() -> None:
    """External data, strings, other layouts and options; none of them as a path."""
    onnx = graphs.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Identity", ["s"], ["t"])],
        [value("x", TensorProto.FLOAT, ["N", 64]), value("s", TensorProto.STRING, ["N"])],
        [value("y", TensorProto.FLOAT, ["N", 64]), value("t", TensorProto.STRING, ["N"])],
        [graphs.stored_outside(WEIGHTS, "w", "w.bin")],
    )
    words = np.array([b"a", b"\xc3\xa9"], dtype=object)
    feed: Arrays = MappingProxyType({"x": np.asfortranarray(np.ones((2, 64), np.float32)), "s": words})
    options = RunnerOptions(threads=2, provider_options=MappingProxyType({"allow_spinning": False}))
    external = MappingProxyType({"w.bin": WEIGHTS.tobytes()})
    assert run_trial(onnx, external, [feed], options, limits()) == TrialResult(True)


def test_the_largest_version_that_streams_through_the_pipe() -> None:
    onnx = graphs.mlp(layers=40)
    assert run_trial(onnx, {}, [{"x0": np.ones((32, 512), np.float32)}], CPU, limits()) == TrialResult(True)


# Rows


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_version_that_takes_one_row_at_a_time_passes(count: int) -> None:
    """Serving gives it single rows; nothing less may be asked of it here."""
    feeds = [{"x": rows(*range(count))}]
    assert run_trial(reads_one_row_at_a_time(), {}, feeds, CPU, limits()) == TrialResult(True)


def test_a_version_that_fails_on_one_of_its_rows_does_not() -> None:
    onnx = graphs.model(
        [helper.make_node("Gather", ["t", "i"], ["y"])],
        [value("i", TensorProto.INT64, ["N"])],
        [value("y", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("t", TensorProto.FLOAT, [3], [5.0, 6.0, 7.0])],
    )
    assert run_trial(onnx, {}, [{"i": np.array([0, 1, 2])}], CPU, limits()).ok
    refused = run_trial(onnx, {}, [{"i": np.array([0, 1, 7])}], CPU, limits())
    assert refused.reason.startswith("the trial failed while running: Gather node")


class Rows:
    """A runner that notes the rows of each run, and fails as told from a number of rows on."""

    def __init__(self, most_rows: int = 1000, cause: Exception | None = None) -> None:
        self.inputs = self.outputs = ()
        self.ran: list[list[float]] = []
        self._most_rows, self._cause = most_rows, cause

    def run(self, arrays: Arrays) -> None:
        self.ran.append(arrays["x"].tolist())
        if len(arrays["x"]) > self._most_rows:
            raise RunFailed("too many") from self._cause


X: Arrays = MappingProxyType({"x": np.arange(5.0)})


def test_no_batch_is_larger_than_serving_forms() -> None:
    """An engine of TensorRT is built for that many rows, and takes no more."""
    runner = Rows()
    trial_child._run_feed(runner, X, "N", 2)  # type: ignore[arg-type]
    assert runner.ran == [[0, 1], [2, 3], [4]]
    trial_child._run_feed(runner, X, None, 2)  # type: ignore[arg-type]
    assert len(runner.ran[-1]) == 5  # without a batch axis there are no rows


def test_inputs_of_unequal_rows_are_left_to_the_version() -> None:
    for other in (np.arange(4.0), np.float64(1)):
        runner = Rows()
        trial_child._run_feed(runner, {"x": X["x"], "z": np.asarray(other)}, "N", 2)  # type: ignore[arg-type]
        assert runner.ran == [X["x"].tolist()]


def test_only_memory_is_a_reason_not_to_try_rows_alone() -> None:
    runner = Rows(most_rows=1)
    trial_child._run_feed(runner, X, "N", 4)  # type: ignore[arg-type]
    assert runner.ran == [[0, 1, 2, 3], [0], [1], [2], [3], [4]]
    trial_child._run_largest(runner, [X], "N", 8)  # type: ignore[arg-type]
    assert len(runner.ran[-1]) == 8
    short = Rows(most_rows=1, cause=MemoryError())
    with pytest.raises(RunFailed):
        trial_child._run_feed(short, X, "N", 4)  # type: ignore[arg-type]
    with pytest.raises(RunFailed):
        trial_child._run_largest(short, [X], "N", 8)  # type: ignore[arg-type]
    assert len(short.ran) == 2


# Memory


def test_the_graph_of_66_bytes_that_asks_for_80_gb_dies_here() -> None:
    onnx = graphs.greedy(80 * 10**9)
    assert len(onnx) == 66
    before_bytes = memory.resident_bytes()
    result = run_trial(onnx, {}, [{}], CPU, TrialLimits(timeout_s=60))
    assert not result.ok
    assert result.reason.endswith("MiB for running")
    assert result.reason.startswith("the trial needs more than ")
    assert memory.resident_bytes() - before_bytes < 50 * MIB


@pytest.mark.parametrize(("mib", "expected"), [(128, "the trial needs more than 128 MiB for running"), (1024, "")])
def test_the_limit_decides(mib: int, expected: str) -> None:
    """The second case is the negative control: the same graph, 300 MB, runs where the limit lets it."""
    assert run_trial(graphs.greedy(300 * 10**6), {}, [{}], CPU, limits(mib)).reason == expected


def test_a_device_has_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    Child(monkeypatch, 'echo \'{"stage": "running"}\'; echo \'{"result": {"out_of_memory": true}}\'')
    reason = run_trial(b"", {}, [], RunnerOptions("cuda"), limits()).reason
    assert reason == "the trial needs more than 512 MiB, or than the device has free, for running"


def test_a_load_over_the_limit() -> None:
    assert (
        run_trial(graphs.mlp(layers=40), {}, [], CPU, limits(16)).reason
        == "the trial needs more than 16 MiB for loading"
    )


def test_no_more_is_given_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MIB)
    result = run_trial(graphs.greedy(600 * 10**6), {}, [{}], CPU, limits(4096))
    assert result.reason == "the trial needs more than 100 MiB for running"


# Time


@pytest.fixture
def time_is_up_when(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], bool]], None]:
    """Lets the time of a trial pass at once when something is so, however long a machine takes to come there."""

    def when(so: Callable[[], bool]) -> None:
        readings = itertools.chain([0.0], iter(lambda: 1e6 if so() else 0.0, None))  # the first is the begin
        monkeypatch.setattr(trial, "time", SimpleNamespace(monotonic=lambda: next(readings)))

    return when


def test_a_load_that_takes_too_long(time_is_up_when: Callable[[Callable[[], bool]], None]) -> None:
    imports_s()
    time_is_up_when(lambda: any(map(computes, children(psutil.Process()))))
    result = run_trial(graphs.slow_to_load(8000), {}, [], CPU, limits(2048, timeout_s=100))
    assert (result.reason, result.timed_out) == ("the trial was still loading after 100 s", True)
    assert children(psutil.Process()) == []


ENDLESS: Arrays = MappingProxyType({"n": np.array(10**12), "x": EYE})


def children(process: psutil.Process) -> list[psutil.Process]:
    """The children that try a version."""
    return [child for child in process.children() if "service.runtime.trial_child" in child.cmdline()]


@cache
def imports_s() -> float:
    """What the imports of a child take of a processor here."""
    before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    assert run_trial(graphs.linear(), {}, [], CPU, limits()).ok
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_s


def computes(child: psutil.Process) -> bool:
    """Whether it has computed for longer than its imports take."""
    return bool(child.cpu_times().user > 2 * imports_s() + 0.2)


def running_child(parent: psutil.Process) -> psutil.Process:
    """The child, once it computes."""
    imports_s()
    end_s = time.monotonic() + 50
    while time.monotonic() < end_s:
        for child in children(parent):
            if computes(child):
                return child
        time.sleep(0.05)
    pytest.fail("no child ran")


def test_a_trial_that_nobody_waits_for_any_more_ends() -> None:
    cancel = threading.Event()
    seen: list[psutil.Process] = []

    def give_up() -> None:
        try:
            seen.append(running_child(psutil.Process()))
        finally:
            cancel.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    with pytest.raises(Stuck, match="the trial was given up"):
        run_trial(graphs.loop(), {}, [ENDLESS], CPU, limits(timeout_s=60), cancel)
    thread.join()
    assert not seen[0].is_running()
    with pytest.raises(Stuck):
        run_trial(graphs.loop(), {}, [ENDLESS], CPU, limits(timeout_s=60), cancel)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child of its parent's death")
def test_a_trial_dies_with_the_server() -> None:
    """Without a parent to kill it, it would compute until its alarm."""
    script = (
        "from tests.unit.runtime.test_trial import *\n"
        "run_trial(graphs.loop(), {}, [ENDLESS], CPU, limits(timeout_s=60))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=interpreter.ROOT)
    try:
        child = running_child(psutil.Process(parent.pid))
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs([child], timeout=20)
    for left in alive:
        left.kill()
    assert alive == []


# Other failures


@pytest.mark.parametrize(
    ("onnx", "feeds", "words"),
    [
        (b"garbage" * 20, [], "the trial failed while loading: the model cannot be loaded: "),
        (graphs.identity(TensorProto.BFLOAT16), [], "the trial failed while loading: input 'x' is BF16"),
        (graphs.linear(), [ROW, {"x": np.ones((1, 63), np.float32)}], "the trial failed while running: Got invalid"),
    ],
)
def test_reasons(onnx: bytes, feeds: Sequence[Arrays], words: str) -> None:
    result = run_trial(onnx, {}, feeds, CPU, limits())
    assert not result.ok
    assert result.reason.startswith(words)


class Child:
    """Stands in for the trial's program: a shell line in its place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
        real = subprocess.Popen

        def start(limits: TrialLimits) -> TrialProcess:
            return TrialProcess(real(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE), limits)

        monkeypatch.setattr(trial_process, "start", start)


KILLED = "was killed by the system, most likely for want of memory,"
LOADING = '{"stage": "loading"}'


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"echo '{LOADING}'; kill -SEGV $$", "the trial crashed with signal 11 while loading"),
        (f"echo '{LOADING}'; kill -ABRT $$", "the trial crashed with signal 6 while loading"),
        (f"echo '{LOADING}'; kill -KILL $$", f"the trial {KILLED} while loading"),
        ("exit 3", "the trial ended with exit code 3 while starting"),
        ("exit 0", "the trial ended with exit code 0 while starting"),
        ("echo nonsense; echo '[1]'; echo '{\"result\": 1}'", "the trial ended with exit code 0 while starting"),
        ("head -c 60000 /dev/zero | tr '\\0' '['", "the trial ended with exit code 0 while starting"),
        ("echo '{\"result\": {\"ok\": \"yes\"}}'", "the trial ended with exit code 0 while starting"),
        ("echo '{\"result\": {\"ok\": true}}'; kill -SEGV $$", "the trial crashed with signal 11 while starting"),
        ("echo '{\"stage\": [\"a\"], \"result\": {\"reason\": {}}}'", "the trial failed while ['a']: {}"),
    ],
)  # fmt: skip
def test_a_child_that_ends_otherwise(monkeypatch: pytest.MonkeyPatch, script: str, expected: str) -> None:
    Child(monkeypatch, script)
    assert run_trial(graphs.mlp(layers=2), {}, [], CPU, limits()) == TrialResult(False, expected)


def test_a_run_that_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, time_is_up_when: Callable[[Callable[[], bool]], None]
) -> None:
    Child(monkeypatch, 'echo \'{"stage": "running"}\'; exec sleep 61')
    time_is_up_when(lambda: any(child.cmdline() == ["sleep", "61"] for child in psutil.Process().children()))
    assert run_trial(b"", {}, [], CPU, limits()).reason == "the trial was still running after 30 s"


def test_a_child_that_writes_without_end_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    Child(monkeypatch, "yes")
    assert run_trial(b"", {}, [], CPU, limits(timeout_s=0.2)).reason == "the trial was still starting after 0.2 s"


def test_the_child_imports_only_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing from the working directory, where somebody may have put an `onnxruntime.py`."""
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit(7)")
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert run_trial(graphs.linear(), {}, [ROW], CPU, limits()) == TrialResult(True)
    script = "import sys, service.runtime.trial_child; print(*sorted(sys.modules))"
    command = [sys.executable, "-P", "-c", script]
    environment = os.environ | {"PYTHONPATH": str(interpreter.ROOT)}
    imported = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert {"fastapi", "pydantic", "uvicorn", "torch", "onnx", "google.protobuf"} & set(imported) == set()


# The child's own limits


def test_the_child_limits_its_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the calls that would change this process noted instead of made."""
    made: list[tuple[object, ...]] = []
    monkeypatch.setattr(trial_child, "confine", lambda memory_bytes: made.append((memory_bytes,)))
    monkeypatch.setattr(trial_child.signal, "alarm", lambda seconds: made.append(("alarm", seconds)))
    monkeypatch.setattr(trial_child.signal, "signal", lambda which, action: made.append((which, action)))
    trial_child._limit(1000, 7)
    assert made == [(signal.SIGALRM, signal.SIG_DFL), ("alarm", 7), (1000,)]


def test_the_largest_batch_runs_even_without_feeds() -> None:
    """A graph whose memory grows with the square of its rows: one row is harmless, the largest batch is not."""
    graph = graphs.rows_squared()
    few, many = RunnerOptions(max_batch_size=2), RunnerOptions(max_batch_size=20_000)
    assert run_trial(graph, {}, [], few, limits(256)).ok
    refused = run_trial(graph, {}, [], many, limits(256))
    assert not refused.ok
    assert "needs more than 256 MiB for running" in refused.reason
    row = [{"x": np.ones((1, 1), np.float32)}]
    assert not run_trial(graph, {}, row, many, limits(256)).ok


def test_made_up_rows_that_a_model_refuses_are_no_blame() -> None:
    onnx = graphs.model(
        [helper.make_node("Gather", ["t", "i"], ["y"])],
        [value("i", TensorProto.INT64, ["N"])],
        [value("y", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("t", TensorProto.FLOAT, [1], [5.0])],  # made-up indices are 0 and 1; only 0 is there
    )
    assert run_trial(onnx, {}, [], CPU, limits()) == TrialResult(True)
    refused = run_trial(onnx, {}, [{"i": np.array([1])}], CPU, limits())
    assert refused.reason.startswith("the trial failed while running: Gather node")


_FORKS = """
import os, sys, time
if os.fork() == 0:
    if sys.argv[1] == "apart":
        os.setsid()
    print('{"stage": "pid %d"}' % os.getpid(), flush=True)
    time.sleep(110)
print('{"stage": "parted"}', flush=True)
"""


@pytest.mark.parametrize("where", ["in its group", "apart"])
def test_what_a_trial_leaves_behind_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """It holds the pipes of the trial, and reads and writes nothing; in its group it is ended, too."""
    started: list[subprocess.Popen[bytes]] = []

    def start(given: TrialLimits) -> TrialProcess:
        command = [sys.executable, "-c", _FORKS, where, str(tmp_path)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True))
        return TrialProcess(started[0], given)

    monkeypatch.setattr(trial_process, "start", start)
    began_s = time.monotonic()
    result = run_trial(graphs.linear() + bytes(1 << 20), {}, [], CPU, limits(timeout_s=100))
    assert time.monotonic() - began_s < 50
    assert not result.ok
    if where == "apart":
        [left] = left_of(str(tmp_path))
        left.kill()
    until(lambda: not left_of(str(tmp_path)))


def left_of(folder: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if folder in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
