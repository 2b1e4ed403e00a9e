"""What the tests of isolated runners share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import numpy as np
import psutil

from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.providers import RunnerOptions

CPU = RunnerOptions()
MIB = 1 << 20
ROW = {"x": np.ones((1, 64), np.float32)}
Make = Callable[..., ProcessRunner]


def pid_of(runner: ProcessRunner) -> int:
    return runner._child.pid


def end(runner: ProcessRunner) -> None:
    """kill -9, and waits until it is seen."""
    os.kill(pid_of(runner), signal.SIGKILL)
    until(lambda: not runner._child.alive)


def alive(process: psutil.Process) -> bool:
    """Whether it takes memory: one that ended is listed until its cradle looks."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
