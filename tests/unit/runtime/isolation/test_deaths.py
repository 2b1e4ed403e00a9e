"""Each death of a process is told once, with how it ended; what was closed or stopped in time is no death."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from service.core.errors import NotReady, RunFailed, Stuck
from service.runtime.isolation import nursery as of_cradles
from service.runtime.isolation.nursery import Nursery
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import ROW, Make, end, pid_of

Told = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cradle is given the time that a busy machine takes to tell how a process ended."""
    monkeypatch.setattr(of_cradles, "_TOLD_S", 20.0)


def test_a_crash_is_told_by_its_signal_for_each_process(make: Make) -> None:
    told: Told = []
    runner = make(crashes.divides(), on_death=lambda *death: told.append(death))
    with pytest.raises(RunFailed):
        runner.run({"x": np.array([[crashes.KILLER]])})
    assert told == [("it ended", "signal 8 (SIGFPE)")] * 2
    runner.run({"x": np.array([[5]])})
    runner.close()
    assert len(told) == 2


def test_one_that_dies_between_two_runs_is_told_by_the_next(make: Make) -> None:
    told: Told = []
    runner = make(graphs.linear(), on_death=lambda *death: told.append(death))
    end(runner)
    assert told == []
    runner.run(ROW)
    assert told == [("it ended between two runs", "signal 9 (SIGKILL)")]


def test_one_that_had_to_be_ended_is_told_so(make: Make) -> None:
    told: Told = []
    runner = make(graphs.linear(), on_death=lambda *death: told.append(death))
    os.kill(pid_of(runner), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, ROW)
        until(lambda: runner._child._number == 1)
        runner.stop()
        with pytest.raises(Stuck):
            running.result(20)
    assert told == [("it did not end its run when it was asked to", "signal 9 (SIGKILL)")]


def test_without_its_cradle_nobody_knows_how_it_ended(make: Make, nursery: Nursery) -> None:
    told: Told = []
    runner = make(graphs.linear(), on_death=lambda *death: told.append(death))
    cradle = psutil.Process(pid_of(runner)).parent()
    assert cradle is not None
    cradle.kill()
    end(runner)
    runner.run(ROW)
    assert told == [("it ended between two runs", "unknown")]
    assert nursery.ending(1) == "unknown"  # none of the new cradle's


def test_a_stop_that_was_obeyed_is_no_death(make: Make) -> None:
    told: Told = []
    runner = make(graphs.linear(), on_death=lambda *death: told.append(death))
    runner.run(ROW)
    runner.stop()
    runner.run(ROW)
    runner.close()
    assert told == []


def test_a_cradle_that_stands_still_or_is_asked_by_others_holds_no_run_up(
    make: Make, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waited for it would cost its engine, and the third the server."""
    monkeypatch.setattr(of_cradles, "_TOLD_S", 0.4)
    monkeypatch.setattr(of_cradles._Cradle._asked, "__defaults__", ((), 60.0))
    told: Told = []
    runner = make(graphs.linear(), on_death=lambda *death: told.append(death))
    cradle = psutil.Process(pid_of(runner)).parent()
    assert cradle is not None
    with nursery._lock:
        assert nursery.ending(pid_of(runner)) == "unknown"  # else it would wait for the lock for ever
    cradle.suspend()
    end(runner)
    began_s = time.monotonic()
    runner.run(ROW)
    assert time.monotonic() - began_s < 40  # 60 s is what another question would wait here
    assert told == [("it ended between two runs", "unknown")]


def test_where_no_descriptor_is_left_to_hold_a_process_by_there_is_none_now(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system leaves out what came with a message where there is no room for it."""
    with monkeypatch.context() as short:
        short.setattr(of_cradles.wire, "receive", lambda _: ({"pid": 1}, []))
        with pytest.raises(NotReady, match=r"^no process can be started for the model$"):
            nursery.child()
    nursery.child().close()
