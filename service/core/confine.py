"""Bounds what a child process may take. Called in the child itself.

No sandbox: the child runs as the same user. Knows nothing of what it will do.
"""

from __future__ import annotations

import resource
from pathlib import Path


def confine(memory_bytes: int) -> None:
    """Bounds memory, leaves no core file, and goes first when the machine runs out of memory.

    RLIMIT_DATA counts private writable memory, so that the address space that CUDA and thread arenas only reserve is
    free.

    Args:
        memory_bytes: on top of what this process holds now.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, data_bytes() + memory_bytes)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        return  # not Linux, or not allowed: the limit above still holds


def confine_files(file_bytes: int, descriptors: int) -> None:
    """Bounds how large a file may become, those in memory included, and how many may be open."""
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_NOFILE, descriptors)


def _limit(resource_number: int, most: int) -> None:
    """Lowers a limit for good; what the operator allows may be less already, and only root may raise it."""
    _, allowed = resource.getrlimit(resource_number)
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(resource_number, (most, most))


def data_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it; 0 where there is no /proc."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
