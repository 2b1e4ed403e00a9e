"""How many cores this process may really use, and how many of them one runner gets.

ONNX Runtime would start one thread per core of the machine, also in a container that was given two of its 64: then
the threads are throttled while others wait for them. Knows nothing of other processes on the same cores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from service.runtime import cgroup


def usable_cores(quota_cores: Callable[[], float | None] = cgroup.cpu_quota_cores) -> int:
    """Cores by the scheduler's affinity mask and the control group's CPU quota, the quota rounded up; at least 1."""
    quota = quota_cores()
    allowed = _allowed_cores()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def intra_op_threads(asked: int | None, instances: int, cores: int) -> int:
    """Threads inside one operator, for one of `instances` runners of a version; at least 1.

    Args:
        asked: `threads` of model.yaml, per instance; None divides the cores evenly.
        instances: runners of the version that run side by side.
        cores: what `usable_cores` says.
    """
    return max(1, cores // max(1, instances)) if asked is None else max(1, asked)


def _allowed_cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1
