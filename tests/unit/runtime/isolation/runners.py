"""What the tests of isolated runners share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import numpy as np
import psutil

from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.providers import RunnerOptions
from tests.support.waiting import until

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
