"""A run that does not end is stopped in its time, and only that one."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

from models.bounded import BoundedRunner
from service.core.errors import Stuck
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.runtime import graphs

ROWS = {"x": np.zeros((3, 2), np.float32)}


def bounded(onnx: bytes, timeout_s: float) -> BoundedRunner:
    return BoundedRunner(OnnxRunner.load(onnx, {}, RunnerOptions()), timeout_s)


def watching() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "retort-run"}


@pytest.mark.timeout(20)
def test_an_endless_loop_is_stopped_with_a_sentence() -> None:
    runner = bounded(graphs.counting(endless=True), 0.3)
    start_s = time.monotonic()
    with pytest.raises(Stuck, match=r"run of 3 rows was stopped: it was expected to end within 0\.3 s"):
        runner.run(ROWS)
    assert 0.3 <= time.monotonic() - start_s < 5
    runner.close()


def test_control_the_same_graph_with_an_end_runs_and_runs_again_after_a_pause_longer_than_its_time() -> None:
    runner = bounded(graphs.counting(endless=False), 0.3)
    for _ in range(2):
        assert runner.run(ROWS)["y"].tolist() == [[10.0, 10.0]] * 3
        time.sleep(0.7)
    runner.close()


def test_many_short_runs_may_take_longer_together() -> None:
    runner = bounded(graphs.counting(endless=False), 0.3)
    end_s = time.monotonic() + 1
    while time.monotonic() < end_s:
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
        thread.join(5)
        assert not thread.is_alive()
