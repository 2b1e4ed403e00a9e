"""A run that does not end is stopped in its time, and only that one."""

from __future__ import annotations

import gc
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from models import bounded as of_bounds
from models.bounded import BoundedRunner
from service.core.errors import Stuck
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.fakes import ManualClock
from tests.unit.runtime import graphs

ROWS = {"x": np.zeros((3, 2), np.float32)}


def bounded(onnx: bytes, timeout_s: float) -> BoundedRunner:
    return BoundedRunner(OnnxRunner.load(onnx, {}, RunnerOptions()), timeout_s)


def watching() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "retort-run"}


def test_an_endless_loop_is_stopped_with_a_sentence() -> None:
    runner = bounded(graphs.counting(endless=True), 0.3)
    start_s = time.monotonic()
    with pytest.raises(Stuck, match=r"run of 3 rows was stopped: it was expected to end within 0\.3 s"):
        runner.run(ROWS)
    assert time.monotonic() - start_s >= 0.3
    runner.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time of runs, so that none is long because the machine is busy; it is looked at every few milliseconds."""
    clock = ManualClock()
    monkeypatch.setattr(of_bounds, "time", SimpleNamespace(monotonic=clock.now_s))
    monkeypatch.setattr(of_bounds, "_LOOKS_S", 0.003)
    return clock


def test_control_the_same_graph_with_an_end_runs_and_runs_again_after_a_pause_longer_than_its_time(
    clock: ManualClock,
) -> None:
    runner = bounded(graphs.counting(endless=False), 0.3)
    for _ in range(2):
        assert runner.run(ROWS)["y"].tolist() == [[10.0, 10.0]] * 3
        clock.advance(0.7)
        time.sleep(0.05)  # some looks
    runner.close()


def test_many_short_runs_may_take_longer_together(clock: ManualClock) -> None:
    runner = bounded(graphs.counting(endless=False), 0.3)
    end_s = time.monotonic() + 0.5
    while time.monotonic() < end_s:
        clock.advance(0.1)
        runner.run(ROWS)
    runner.close()


def test_control_one_that_takes_as_long_by_that_clock_is_stopped(clock: ManualClock) -> None:
    runner = bounded(graphs.counting(endless=True), 0.3)
    threading.Timer(0.05, clock.advance, [0.4]).start()
    with pytest.raises(Stuck):
        runner.run(ROWS)
    runner.close()


def test_its_thread_ends_with_it_closed_or_forgotten() -> None:
    before = watching()  # what earlier tests left may end meanwhile
    closed, forgotten = (bounded(graphs.counting(endless=False), 1) for _ in range(2))
    own = watching() - before
    assert len(own) == 2
    time.sleep(0.6)  # each has looked at its runner by now, and may not have kept it
    closed.close()
    del forgotten
    gc.collect()
    for thread in own:
        thread.join(20)
        assert not thread.is_alive()
