"""How much memory this process holds, how much it may still take, and how to give freed memory back.

Freed weights stay with the C library until it is told to return them. Measured with a 21 MB model, each swap loading
one beside and closing the other, 60 times (ONNX Runtime 1.31, 2 cores): resident memory went 173 -> 240 MiB without
`trim`, and stayed at 132 MiB with it, whatever the arena's strategy; one `trim` took about 15 ms, without the GIL.
What the threads of a load leave in heaps of their own is scattered and stays: 240 swaps of the shipped model under 200
requests/s added 5 to 6 MiB to a warm server, and 1.6 MiB with one heap for all threads, at the same throughput.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from service.runtime import cgroup

_PROC = Path("/proc")
_M_ARENA_MAX = -8  # glibc's malloc.h


def share_one_heap() -> bool:
    """Lets threads allocate from one heap, with glibc; elsewhere, or where the environment chose, does nothing.

    To be called before threads start.

    Returns:
        Whether it was done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or "MALLOC_ARENA_MAX" in os.environ:
        return False
    return bool(mallopt(_M_ARENA_MAX, 1))


def trim() -> bool:
    """Returns freed memory to the system, with glibc; elsewhere does nothing.

    Returns:
        Whether there was something to call.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is None:
        return False
    malloc_trim(ctypes.c_size_t(0))
    return True


def resident_bytes(proc: Path = _PROC, pid: int | str = "self") -> int:
    """Resident memory of a process in bytes; of this one, where there is no /proc, the most that it ever had.

    Raises:
        OSError: there is no such process, or none is to be looked at.
    """
    try:
        return int((proc / str(pid) / "statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        if pid != "self":
            raise
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def available_bytes(proc: Path = _PROC, group_left_bytes: Callable[[], int | None] = cgroup.memory_left_bytes) -> int:
    """Bytes that can still be taken: the least of what the machine and this process's control groups have left.

    Without /proc it is all the memory of the machine, an upper bound.
    """
    machine = _machine_available_bytes(proc)
    group = group_left_bytes()
    return machine if group is None else min(machine, group)


def whole_bytes(group_limit_bytes: Callable[[], int | None] = cgroup.memory_limit_bytes) -> int:
    """All the memory that this process could ever have: the machine's, or what its control groups allow it."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = group_limit_bytes()
    return machine if group is None else min(machine, group)


def _machine_available_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
