"""A child process that does not outlive its parent, however that one ends: a crash, `kill -9`, a second Ctrl-C.

And a parent that gets the children of its children, once those have ended. By Linux's prctl; elsewhere nothing is done,
and whoever needs the child's end needs another way too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # Linux's sys/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def die_with(parent_pid: int) -> None:
    """Has this process killed when its parent ends; it stays so over an exec.

    Linux means the thread that started this process: it must be one that stays as long as the child is wanted.

    Raises:
        SystemExit: the parent has ended already.
    """
    if not _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL):
        return
    if os.getppid() != parent_pid:
        sys.exit(1)  # it ended before it could be watched


def adopt() -> None:
    """Makes this process the parent of whatever its descendants leave behind when they end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """Those of this process's one thread; none where the system does not tell."""
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()))
    except OSError:
        return set()


def _prctl(option: int, value: int) -> bool:
    """Whether there is one."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return False
    prctl(option, value)
    return True
