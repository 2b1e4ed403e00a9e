"""Which class of processor this is, as far as the answers and the speed of a quantised graph depend on it.

The same int8 graph can round differently with and without VNNI, so cards and golden tolerances are kept per class.
Knows the instruction sets that ONNX Runtime's kernels dispatch on, and nothing of models.
"""

from __future__ import annotations

import platform
from pathlib import Path

_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})

# First match wins: the strongest class a processor has all flags of. Flag names as in /proc/cpuinfo.
_CLASSES: tuple[tuple[str, frozenset[str]], ...] = (
    ("avx512_vnni", _AVX512 | {"avx512_vnni"}),
    ("avx_vnni", frozenset({"avx2", "avx_vnni"})),
    ("avx512", _AVX512),
    ("avx2", frozenset({"avx2"})),
    ("neon", frozenset({"asimd"})),
    ("neon", frozenset({"neon"})),
)
_FLAG_LINES = ("flags", "Features")


def cpu_class(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The class of this machine: one of avx512_vnni, avx_vnni, avx512, avx2, neon, other.

    Args:
        cpuinfo: what the kernel says of the processors; without it only a 64-bit Arm is told from the others.
    """
    try:
        return parse_cpu_class(cpuinfo.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return "neon" if platform.machine().lower() in {"arm64", "aarch64"} else "other"


def parse_cpu_class(cpuinfo: str) -> str:
    """The class that the text of /proc/cpuinfo describes: the flags that all its processors share decide."""
    flags = _shared_flags(cpuinfo)
    return next((name for name, needed in _CLASSES if needed <= flags), "other")


def _shared_flags(cpuinfo: str) -> frozenset[str]:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    sets = [frozenset(flags.split()) for key, _, flags in lines if key.strip() in _FLAG_LINES]
    return frozenset.intersection(*sets) if sets else frozenset()
