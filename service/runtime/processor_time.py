"""Processor time of a process: one that computes takes some, one that is frozen or waits takes none.

Source: proc_pid_stat(5).
"""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_UTIME, _STIME = 11, 12  # behind the name, which may hold anything but ends with the last bracket


def used_s(pid: int, proc: Path = _PROC) -> float:
    """Seconds of the processor that a process has taken so far, all its threads together.

    Raises:
        OSError: there is no such process, or none is to be looked at.
    """
    fields = (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")
