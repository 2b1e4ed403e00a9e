"""Memory: what is held, what is left, and that freed memory really goes back (promise A1)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from service.runtime import memory
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.runtime import graphs

MIB = 1 << 20
ROOT = Path(__file__).parents[3]


def in_a_process_of_its_own(measure: Callable[[], int]) -> int:
    """What `measure` measures where no load that another test left behind takes or gives back memory meanwhile."""
    program = f"from {measure.__module__} import {measure.__name__}; print({measure.__name__}())"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100, cwd=ROOT
    )
    assert told.returncode == 0, told.stderr
    return int(told.stdout)


def held_bytes() -> int:
    before = memory.resident_bytes()
    held = np.ones(64 * MIB, dtype=np.uint8)
    after = memory.resident_bytes()
    assert held.size == 64 * MIB
    return after - before


def test_resident_bytes_follow_what_is_held() -> None:
    assert in_a_process_of_its_own(held_bytes) > 48 * MIB


def test_resident_bytes_without_proc_is_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linux = memory.resident_bytes(tmp_path)
    assert linux >= 0.9 * memory.resident_bytes()
    monkeypatch.setattr(memory.sys, "platform", "darwin")  # counts bytes there, KiB elsewhere
    assert memory.resident_bytes(tmp_path) == pytest.approx(linux / 1024, rel=0.5)


def test_a_process_that_is_gone_has_no_memory_least_of_all_ours() -> None:
    """The server counts its models' processes so: one that has just ended must not count as large as the server."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with pytest.raises(OSError, match="statm"):
        memory.resident_bytes(pid=ended.pid)


@pytest.mark.parametrize(("group", "expected"), [(None, 2048), (1000, 1000), (4096, 2048), (0, 0)])
def test_available_is_the_least_of_machine_and_group(tmp_path: Path, group: int | None, expected: int) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemFree: 1 kB\nMemAvailable:       2 kB\n")
    assert memory.available_bytes(tmp_path, lambda: group) == expected


@pytest.mark.parametrize("meminfo", [None, "MemTotal: 99 kB\n"])
def test_available_without_meminfo_is_all_there_is(tmp_path: Path, meminfo: str | None) -> None:
    if meminfo is not None:
        (tmp_path / "meminfo").write_text(meminfo)
    assert memory.available_bytes(tmp_path, lambda: None) > 100 * MIB


def test_available_here() -> None:
    assert 0 < memory.available_bytes() < 1 << 50


def test_all_the_memory_there_is_is_the_machine_s_or_the_group_s() -> None:
    machine = memory.whole_bytes(lambda: None)
    assert memory.available_bytes() <= memory.whole_bytes() <= machine
    assert memory.whole_bytes(lambda: 5) == 5
    assert memory.whole_bytes(lambda: 1 << 62) == machine


def test_the_heap_is_shared_unless_the_environment_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda option, value: asked.append((option, value)) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    assert memory.share_one_heap()
    assert asked == [(-8, 1)]
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert not memory.share_one_heap()
    assert len(asked) == 1


def test_a_heap_cannot_be_shared_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not memory.share_one_heap()


HEAPS_OF_THREADS = """
import ctypes, sys, threading
from service.runtime import memory
if sys.argv[1] == "shared":
    assert memory.share_one_heap()
allocate = ctypes.CDLL(None).malloc
allocate.restype = ctypes.c_void_p
threads = [threading.Thread(target=allocate, args=(5000,)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_info(0, ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_threads_share_one_heap_and_would_not_by_themselves() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}

    def heaps(how: str) -> int:
        command = [sys.executable, "-c", HEAPS_OF_THREADS, how]
        told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return told.stdout.count("<heap nr=")

    assert heaps("shared") == 1
    assert heaps("as it is") > 1


def test_trim_is_a_no_op_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.trim()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not memory.trim()


class Swaps:
    """Two versions that take turns, as in a swap: the new one is loaded beside the old one, which then closes."""

    def __init__(self) -> None:
        self._file = graphs.mlp(layers=20)
        self._active = self._load()

    def __call__(self) -> None:
        new = self._load()
        new.run({"x0": np.ones((8, 512), np.float32)})
        self._active.close()
        self._active = new

    def _load(self) -> OnnxRunner:
        return OnnxRunner.load(self._file, {}, RunnerOptions())


def grown_bytes() -> int:
    """How much a few swaps add to resident memory, beyond the first two."""
    swaps = Swaps()
    for _ in range(2):
        swaps()
    before = memory.resident_bytes()
    for _ in range(6):
        swaps()
    return memory.resident_bytes() - before


def bytes_that_trim_would_return() -> int:
    """What a few swaps leave behind where `trim` does nothing, and gives back where it does."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "trim", lambda: False)
        swaps = Swaps()
        for _ in range(4):
            swaps()
        untrimmed = memory.resident_bytes()
    memory.trim()
    return untrimmed - memory.resident_bytes()


def test_loads_and_closes_of_20_mib_leave_nothing_behind() -> None:
    assert in_a_process_of_its_own(grown_bytes) <= 5 * MIB


def test_they_would_without_trim() -> None:
    """Negative control: what the test above would miss if `trim` did nothing."""
    assert in_a_process_of_its_own(bytes_that_trim_would_return) > 15 * MIB
