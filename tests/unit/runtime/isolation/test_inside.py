"""What a process of a model has, and what it may take."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.core.errors import RunFailed
from service.runtime.isolation.nursery import Nursery
from tests.unit.runtime import graphs
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import ROW, Make, pid_of


def test_memory_is_bounded_and_costs_the_run_alone(make: Make) -> None:
    runner = make(crashes.takes(), memory_mib=256)
    before = pid_of(runner)
    assert runner.run({"n": np.array([1000])})["y"] == [1000]
    with pytest.raises(RunFailed, match="not enough memory"):
        runner.run({"n": np.array([1 << 27])})  # 512 MiB
    assert runner.run({"n": np.array([1000])})["y"] == [1000]
    assert pid_of(runner) == before


def test_without_the_bound_there_is_memory(make: Make) -> None:
    assert make(crashes.takes(), memory_mib=1024).run({"n": np.array([1 << 26])})["y"] > 0


def test_a_process_has_what_it_needs_and_no_more(make: Make) -> None:
    child = psutil.Process(pid_of(make(graphs.linear())))
    opened = [os.readlink(one) for one in Path(f"/proc/{child.pid}/fd").iterdir()]
    files = [name for name in opened if not name.startswith(("socket:", "/memfd:retort-"))]
    assert [name for name in opened if "retort-model" in name] == []
    assert set(files) <= {"/dev/null"}
    assert len(opened) <= 8
    assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NOFILE) == (256, 256)
    assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == "1000\n"
    assert child.nice() == psutil.Process().nice()


def test_it_is_told_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETORT_SECRET", "OTEL_EXPORTER_OTLP_HEADERS", "FREE"):
        monkeypatch.setenv(name, "hidden")
    own = Nursery()
    child = own.child()
    known = psutil.Process(child.pid).environ()
    child.close()
    assert known["FREE"] == "hidden"
    assert not [name for name in known if name.startswith(("RETORT_", "OTEL_"))]


def test_a_signal_that_is_for_the_server_is_not_for_them(make: Make) -> None:
    runner = make(graphs.linear())
    before = pid_of(runner)
    for pid in (before, psutil.Process(before).ppid()):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    runner.run(ROW)
    assert pid_of(runner) == before


def test_a_cradle_has_one_thread(make: Make) -> None:
    """It is forked: a second thread would be missing in its children, with whatever locks it held."""
    parent = psutil.Process(pid_of(make(graphs.linear()))).parent()
    assert parent is not None
    assert parent.num_threads() == 1
