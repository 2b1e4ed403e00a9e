from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
TELL = [sys.executable, "-c", "import os, sys; print(os.getpid(), sorted(os.sched_getaffinity(0)), sys.argv[1:])", "x"]


def launched(parent_pid: int, cores: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "loadtests.tune.launch", str(parent_pid), cores, *TELL]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return process, process.communicate(timeout=60)[0].strip()


def test_it_becomes_the_program_on_the_cores_that_were_named() -> None:
    process, told = launched(os.getpid(), str(min(os.sched_getaffinity(0))))
    assert told == f"{process.pid} [{min(os.sched_getaffinity(0))}] ['x']"


def test_without_cores_it_may_use_all() -> None:
    process, told = launched(os.getpid(), "")
    assert told == f"{process.pid} {sorted(os.sched_getaffinity(0))} ['x']"


def test_it_does_not_begin_where_its_parent_is_gone() -> None:
    process, told = launched(os.getpid() + 1, "")
    assert (process.returncode, told) == (1, "")
