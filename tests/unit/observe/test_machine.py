from __future__ import annotations

from pathlib import Path

import pytest

from service.observe.machine import Machine, Reading

MEMORY = "MemTotal:  1000 kB\nMemFree: 100 kB\nMemAvailable:   400 kB\nHugePages_Total:       0\n"


def write(proc: Path, cpu: str, memory: str = MEMORY) -> None:
    (proc / "stat").write_text(f"{cpu}\ncpu0 1 2 3\n")
    (proc / "meminfo").write_text(memory)


def test_utilisation_is_the_busy_share_between_two_readings(tmp_path: Path) -> None:
    write(tmp_path, "cpu  100 0 100 700 100 0 0 0 0 0")
    machine = Machine(tmp_path)
    write(tmp_path, "cpu  120 0 110 750 120 0 0 0 0 0")
    assert machine.read().cpu_utilization == pytest.approx(30 / 100)
    write(tmp_path, "cpu  120 0 110 760 120 0 0 0 0 0")
    assert machine.read().cpu_utilization == 0.0


def test_memory_in_use_is_what_is_not_available(tmp_path: Path) -> None:
    write(tmp_path, "cpu 1 0 0 1 0 0 0 0")
    reading = Machine(tmp_path).read()
    assert (reading.memory_total_bytes, reading.memory_used_bytes) == (1000 * 1024, 600 * 1024)


@pytest.mark.parametrize("cpu", ["", "cpu", "cpu a b c", "cpu  100 0 100 700 100 0 0 0"])
def test_without_two_different_readings_there_is_no_utilisation(tmp_path: Path, cpu: str) -> None:
    write(tmp_path, "cpu  100 0 100 700 100 0 0 0")
    machine = Machine(tmp_path)
    write(tmp_path, cpu)
    assert machine.read().cpu_utilization is None


@pytest.mark.parametrize("memory", ["", "MemTotal: x kB\n", "nonsense\n", "MemTotal: 10 kB\n", "MemTotal:\n"])
def test_memory_that_cannot_be_read_is_not_invented(tmp_path: Path, memory: str) -> None:
    write(tmp_path, "cpu 1 0 0 1 0 0 0 0", memory)
    assert Machine(tmp_path).read().memory_used_bytes is None


def test_a_machine_without_proc_says_nothing(tmp_path: Path) -> None:
    assert Machine(tmp_path / "none").read() == Reading()


def test_this_machine_answers() -> None:
    reading = Machine().read()
    assert reading.memory_total_bytes is None or reading.memory_total_bytes > 1 << 20
