"""The process of a trial: started when it is wanted, or ahead, while its parent still imports the server.

A process that was started ahead waits for its job like any other, and is one that was never used once it has waited too
long. Knows nothing of what will be tried, and imports next to nothing, so that the process is there soon.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, replace

from service.core import interpreter
from service.runtime import memory

_MIB = 1 << 20
_WAITS_S = 30.0  # ahead of its job; a start takes seconds
_SHARE = 0.9  # of the time of a load: the trial ends before the load is given up, and can say what took so long
_GRACE_S = 5


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """What a trial may take.

    Attributes:
        memory_bytes: on top of what Python and ONNX Runtime hold before the model is read, about 150 MiB; never more
            than the machine has left. The stack of each thread counts 8 MiB.
        timeout_s: from the start of the process to its answer, or from its job where it was started ahead.
    """

    memory_bytes: int = 4096 * _MIB
    timeout_s: float = 60.0


def limits_within(load_timeout_s: float, memory_bytes: int) -> TrialLimits:
    """Those of a trial that is a part of a load."""
    return TrialLimits(memory_bytes, load_timeout_s * _SHARE)


@dataclass(frozen=True, slots=True)
class TrialProcess:
    """A process that waits for a job, and the limits that it has set itself."""

    popen: subprocess.Popen[bytes]
    limits: TrialLimits


def start(limits: TrialLimits, waits_s: float = 0.0) -> TrialProcess:
    """Starts one, which ends with the thread that this is called on, and after its time in any case."""
    limits = replace(limits, memory_bytes=min(limits.memory_bytes, memory.available_bytes()))
    deadline_s = int(limits.timeout_s + waits_s) + _GRACE_S  # its own alarm, where nothing else ends it
    popen = subprocess.Popen(  # noqa: S603 - this very interpreter, and three numbers
        interpreter.command("service.runtime.trial_child", limits.memory_bytes, deadline_s, os.getpid()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=interpreter.environment(),
        start_new_session=True,  # a Ctrl-C in the terminal is for the server
    )
    return TrialProcess(popen, limits)


class TrialAhead:
    """One process, started now, for whichever trial comes first. Made on a thread that stays: the process ends with it.

    Args:
        limits: of that trial.
        waits_s: how long it is worth waiting for.
    """

    def __init__(self, limits: TrialLimits, waits_s: float = _WAITS_S) -> None:
        self._lock = threading.Lock()  # guards _process, which trials take on threads of their own
        self._until_s = time.monotonic() + waits_s
        self._process: TrialProcess | None = start(limits, waits_s)

    def take(self) -> TrialProcess | None:
        """The process, now the caller's; None where it was taken already, has ended, or has waited too long."""
        process = self._taken()
        if process is None or (process.popen.poll() is None and time.monotonic() < self._until_s):
            return process
        _end(process)
        return None

    def close(self) -> None:
        """Ends it unless it was taken."""
        process = self._taken()
        if process is not None:
            _end(process)

    def _taken(self) -> TrialProcess | None:
        with self._lock:
            process, self._process = self._process, None
        return process


def _end(process: TrialProcess) -> None:
    process.popen.kill()
    process.popen.communicate()
