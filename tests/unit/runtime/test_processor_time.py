"""What a process has taken of the processor, as the system tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.runtime.processor_time import used_s


def test_computing_takes_time_and_waiting_takes_none() -> None:
    before_s = used_s(os.getpid())
    end_s = time.thread_time() + 0.2
    while time.thread_time() < end_s:
        pass
    assert used_s(os.getpid()) - before_s >= 0.15


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = ["S", *map(str, range(4, 14)), "300", "45", *map(str, range(16, 53))]
    (tmp_path / "7" / "stat").write_bytes(b"7 (a) R 1 2 (b) " + " ".join(fields).encode())
    assert used_s(7, tmp_path) == pytest.approx(345 / os.sysconf("SC_CLK_TCK"))


def test_a_process_that_is_gone_has_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        used_s(process.pid)
