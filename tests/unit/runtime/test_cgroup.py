"""Control groups as trees of files: version 2, version 1, containers, and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from service.runtime.cgroup import cpu_quota_cores, memory_left_bytes, memory_limit_bytes

MIB = 1 << 20


def tree(root: Path, membership: str, files: Mapping[str, str]) -> Path:
    """Lays `files` (below sys/fs/cgroup) and /proc/self/cgroup under `root`."""
    for name, text in {"proc/self/cgroup": membership, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),  # an ancestor's limit
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n", "a/cpu.max": "200000 100000\n"}, 0.5),  # the tightest
        ("0::/../../host/path\n", {"cpu.max": "100000 100000\n"}, 1.0),  # a container: the path is the host's
        ("4:cpu,cpuacct:/box\n", {"cpu/box/cpu.cfs_quota_us": "300000", "cpu/box/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu,cpuacct:/box\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, None),  # not our group
        ("0::/\n", {"cpu.max": "garbage"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("", {}, None),
        ("garbage", {}, None),
    ],
)
def test_cpu_quota(tmp_path: Path, membership: str, files: Mapping[str, str], expected: float | None) -> None:
    assert cpu_quota_cores(tree(tmp_path, membership, files)) == expected


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"memory.max": f"{100 * MIB}\n", "memory.current": f"{30 * MIB}\n"}, 70 * MIB),
        ("0::/\n", {"memory.max": "max\n", "memory.current": f"{30 * MIB}\n"}, None),
        (
            "0::/\n",
            {
                "memory.max": f"{100 * MIB}",
                "memory.current": f"{90 * MIB}",
                "memory.stat": f"anon 5\ninactive_file {40 * MIB}\nslab 7\n",
            },
            50 * MIB,  # page cache that the kernel drops at once is free
        ),
        ("0::/\n", {"memory.max": "10", "memory.current": "30"}, 0),
        (
            "0::/a\n",
            {"a/memory.max": "max", "a/memory.current": "1", "memory.max": "500", "memory.current": "100"},
            400,
        ),
        (
            "5:memory:/box\n",
            {
                "memory/box/memory.limit_in_bytes": "1000",
                "memory/box/memory.usage_in_bytes": "900",
                "memory/box/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
            },
            300,
        ),
        ("0::/\n", {"memory.max": "1000"}, None),
        ("", {}, None),
    ],
)
def test_memory_left(tmp_path: Path, membership: str, files: Mapping[str, str], expected: int | None) -> None:
    assert memory_left_bytes(tree(tmp_path, membership, files)) == expected


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "4096", "memory.max": "8192"}, 4096),
        ("0::/a", {"a/memory.max": "max"}, None),
        ("0::/gone", {"memory.max": "100"}, 100),
        ("3:memory:/a", {"memory/a/memory.limit_in_bytes": "300", "memory/memory.limit_in_bytes": "200"}, 200),
        ("", {}, None),
    ],
)
def test_memory_limit(tmp_path: Path, membership: str, files: Mapping[str, str], expected: int | None) -> None:
    assert memory_limit_bytes(tree(tmp_path, membership, files)) == expected


def test_this_machine_can_be_asked() -> None:
    quota, left = cpu_quota_cores(), memory_left_bytes()
    assert quota is None or quota > 0
    assert left is None or left >= 0
