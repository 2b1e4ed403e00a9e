"""Ctrl-C inside a call that does not come back ends the process; elsewhere it is the KeyboardInterrupt it ever was."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from models.commands import interrupt
from tests.support.waiting import until
from tests.unit.models import samples_of
from tests.unit.runtime import graphs

COMPRESS = "import sys; from models.commands.compress import app; app(sys.argv[1:])"
MEASURING = b"measuring"


def compress(folder: Path, *more: str) -> list[str]:
    """The command on a model of a loop, with calibration rows alone, which are first run by the measurement."""
    few = folder / "few.npz"
    samples_of.write(few, {"x": np.random.default_rng(0).random((40, 2), np.float32)})
    arguments = ["--calibration", str(few), "--recipe", "fp16", "--runs", "5", *more]
    published = str(folder / "repo" / "net")
    return [sys.executable, "-c", COMPRESS, str(folder / "net.onnx"), "--publish", published, *arguments]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def test_an_endless_model_ends_the_command_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(graphs.counting(endless=True))
    ended = run(compress(tmp_path, "--run-timeout", "1"))
    assert ended.returncode == 1
    assert "was stopped: it was expected to end within 1 s (--run-timeout)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.glob("repo/net/*"))


def test_control_the_same_model_with_an_end_is_published(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(graphs.counting(endless=False))
    ended = run(compress(tmp_path, "--run-timeout", "20"))
    assert ended.returncode in (1, 3), ended.stderr  # without a test set nothing passes
    assert (tmp_path / "repo" / "net" / "1" / "model.onnx").exists()


def test_ctrl_c_ends_it_within_a_run_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(graphs.counting(endless=True))
    with subprocess.Popen(compress(tmp_path), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            while MEASURING not in process.stderr.readline():
                assert process.poll() is None
            enough_s = cpu_s(process.pid) + 1.5
            until(lambda: cpu_s(process.pid) > enough_s, "it is within the run by then", within_s=60)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == interrupt.INTERRUPTED
            assert b"interrupted within a run that did not end" in process.stderr.read()
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    """What it has computed."""
    return float(psutil.Process(pid).cpu_times().user)


@pytest.mark.parametrize("interrupting", [signal.raise_signal, lambda _: None], ids=["interrupted", "not"])
def test_control_who_comes_back_in_time_ends_by_himself(interrupting: Callable[[signal.Signals], None]) -> None:
    told: list[str] = []
    before = {*threading.enumerate()}
    try:
        with interrupt.ended_by_ctrl_c(lambda: told.append("last words")):
            interrupting(signal.SIGINT)
    except KeyboardInterrupt:
        told.append("interrupted")
    assert told == (["interrupted"] if interrupting is signal.raise_signal else [])
    assert not {*threading.enumerate()} - before
    assert signal.set_wakeup_fd(-1) == -1  # nothing of it is left
