"""What the control groups that this process lives in allow it: CPU quota and memory, version 1 and version 2.

A limit may stand on any ancestor, so each is read from the process's own group up to the root, and the tightest wins.
In a container the path in /proc/self/cgroup may be the host's and missing here: its ancestors then still end at the
container's own root. Everything unreadable counts as no limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpu_quota_cores(root: Path = _ROOT) -> float | None:
    """The CPU quota in cores, such as 1.5; None without one.

    Args:
        root: where `proc` and `sys` lie.
    """
    quotas = [_quota_v2(group) for group in _groups(root, None)]
    quotas += [_quota_v1(group) for group in _groups(root, "cpu")]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_left_bytes(root: Path = _ROOT) -> int | None:
    """Bytes until the tightest memory limit, what the kernel can drop at once counted as free; None without a limit."""
    left = [_left(group, "memory.max", "memory.current", "inactive_file") for group in _groups(root, None)]
    left += [
        _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _groups(root, "memory")
    ]
    return min((bytes_ for bytes_ in left if bytes_ is not None), default=None)


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The tightest memory limit; None without one."""
    limits = [_number(_read(group / "memory.max")) for group in _groups(root, None)]
    limits += [_number(_read(group / "memory.limit_in_bytes")) for group in _groups(root, "memory")]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, controller: str | None) -> Iterator[Path]:
    """The folders of the process's group and its ancestors: of a version 1 controller, or of version 2 for None."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controller is None and not controllers) or (
            controller is not None and controller in controllers.split(",")
        ):
            mount = root / "sys/fs/cgroup" / (controller or "")
            parts = [part for part in path.split("/") if part not in ("", ".", "..")]
            yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1))


def _quota_v2(group: Path) -> float | None:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _quota_v1(group: Path) -> float | None:
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Cores of a quota per period, both in microseconds; "max" and "-1" mean none."""
    quota_us, period_us = _number(quota), _number(period)
    return quota_us / period_us if quota_us and period_us else None


def _left(group: Path, limit: str, used: str, droppable: str) -> int | None:
    limit_bytes, used_bytes = _number(_read(group / limit)), _number(_read(group / used))
    if limit_bytes is None or used_bytes is None:
        return None
    stat = dict(line.partition(" ")[::2] for line in _read(group / "memory.stat").splitlines())
    return max(0, limit_bytes - used_bytes + (_number(stat.get(droppable, "")) or 0))


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
