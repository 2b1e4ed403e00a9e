"""How busy the machine is, from Linux's /proc; says nothing where there is none.

Utilisation is the share of all cores between two readings, as Triton's `nv_cpu_utilization` is per interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024
_IDLE_AND_IOWAIT = (3, 4)  # columns of the "cpu" line of /proc/stat


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine; None for what it does not tell."""

    cpu_utilization: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None


class Machine:
    """Remembers the last reading, so that the next one can tell what happened in between."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._last = self._cpu_ticks()

    def read(self) -> Reading:
        """Cores in use since the last call, and memory now."""
        total, available = self._memory_bytes()
        used = None if total is None or available is None else total - available
        return Reading(self._utilization(), total, used)

    def _utilization(self) -> float | None:
        now, last = self._cpu_ticks(), self._last
        self._last = now
        if now is None or last is None or now[1] <= last[1]:
            return None
        return min(1.0, max(0.0, (now[0] - last[0]) / (now[1] - last[1])))

    def _cpu_ticks(self) -> tuple[int, int] | None:
        """Busy ticks and all ticks since boot."""
        try:
            first = (self._proc / "stat").read_text("ascii").split("\n", 1)[0]
            ticks = [int(column) for column in first.split()[1:9]]
        except (OSError, ValueError):
            return None
        return sum(t for column, t in enumerate(ticks) if column not in _IDLE_AND_IOWAIT), sum(ticks)

    def _memory_bytes(self) -> tuple[int | None, int | None]:
        try:
            lines = (self._proc / "meminfo").read_text("ascii").splitlines()
            fields = {key: int(value.split()[0]) * _KIB for key, value in (line.split(":") for line in lines) if value}
        except (OSError, ValueError, IndexError):
            return None, None
        return fields.get("MemTotal"), fields.get("MemAvailable")
