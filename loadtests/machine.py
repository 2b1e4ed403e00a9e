"""What a run was made on: words for the report, nothing that names a person or a place."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("retort", "numpy", "scipy", "httptools", "uvloop", "onnxruntime-gpu", "onnxruntime")


def describe(cores: Sequence[int]) -> Mapping[str, str]:
    """The machine, and the generator's cores."""
    load = os.getloadavg()[0]
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "generator's cores": ", ".join(map(str, cores)) or "any",
        "load average before": f"{load:.2f}",
    }


def libraries() -> Mapping[str, str]:
    """Name -> version, of those that are installed here."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
