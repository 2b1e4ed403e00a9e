"""A child process that does not outlive its parent, however that one ends: a crash, `kill -9`, a second Ctrl-C.

By Linux's parent-death signal; elsewhere nothing is done, and whoever needs the child's end needs another way too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # Linux's sys/prctl.h


def die_with(parent_pid: int) -> None:
    """Has this process killed when its parent ends; it stays so over an exec.

    Linux means the thread that started this process: it must be one that stays as long as the child is wanted.

    Raises:
        SystemExit: the parent has ended already.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit(1)  # it ended before it could be watched
