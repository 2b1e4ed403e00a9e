"""The runner in a process of its own: the same answers as in this one, and what becomes of runs whose process dies."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper

from service.core.clock import MonotonicClock
from service.core.errors import BadInput, BadModel, NotReady, RunFailed, Stuck
from service.runtime.isolation.child import Child
from service.runtime.isolation.nursery import Nursery
from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.isolation.recipe import Recipe
from service.runtime.onnx import OnnxRunner
from service.runtime.runner import Runner
from tests.fakes import ManualClock
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import WEIGHTS, value
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import CPU, ROW, Make, alive, end, pid_of
from tests.unit.runtime.isolation.test_wire import text


def everything(elem_type: int, array: np.ndarray) -> tuple[bytes, dict[str, np.ndarray]]:
    return graphs.identity(elem_type, ("N", 4)), {"x": array}


STRINGS = graphs.model(
    [helper.make_node("Identity", ["s"], ["t"])],
    [value("s", TensorProto.STRING, ["N"])],
    [value("t", TensorProto.STRING, ["N"])],
)


@pytest.mark.parametrize(
    ("onnx", "feeds"),
    [
        everything(TensorProto.BOOL, np.array([[True, False, True, False]])),
        everything(TensorProto.INT8, np.array([[-128, -1, 0, 127]], np.int8)),
        everything(TensorProto.UINT64, np.array([[0, 1, 2, 2**64 - 1]], np.uint64)),
        everything(TensorProto.FLOAT16, np.array([[0, np.inf, np.nan, -1.5]], np.float16)),
        everything(TensorProto.FLOAT, np.arange(8, dtype=np.float32).reshape(4, 2).T),
        everything(TensorProto.FLOAT, np.empty((0, 4), np.float32)),
        (STRINGS, {"s": text(b"", "é".encode(), b"a" * 5000)}),
        (graphs.linear(), {"x": np.random.default_rng(0).random((32, 64), np.float32)}),
        (crashes.divides(), {"x": np.array([[3], [7]])}),
    ],
    ids=["bool", "int8", "uint64", "fp16", "fp32 turned", "no rows", "text", "linear", "divides"],
)
def test_it_answers_as_the_runner_in_this_process(make: Make, onnx: bytes, feeds: dict[str, np.ndarray]) -> None:
    apart: Runner = make(onnx)
    here = OnnxRunner.load(onnx, {}, CPU)
    for side in ("inputs", "outputs", "omitted_outputs", "provider"):
        assert getattr(apart, side) == getattr(here, side)
    expected = here.run(feeds)
    for _ in range(2):
        found = apart.run(feeds)
        assert list(found) == list(expected)
        for name, array in found.items():
            assert array.dtype == expected[name].dtype
            assert_array_equal(array, expected[name])


def test_external_data_reach_it(make: Make) -> None:
    onnx = graphs.matmul(graphs.stored_outside(WEIGHTS, "w", "w.bin"))
    assert_array_equal(make(onnx, external={"w.bin": WEIGHTS.tobytes()}).run(ROW)["y"], ROW["x"] @ WEIGHTS)


def test_what_is_wrong_with_a_model_is_said_as_in_this_process(make: Make) -> None:
    for onnx in (b"no model", graphs.model([], [], [])):
        with pytest.raises(BadModel) as here:
            OnnxRunner.load(onnx, {}, CPU)
        with pytest.raises(BadModel) as apart:
            make(onnx)
        assert str(apart.value) == str(here.value)


@pytest.mark.parametrize(
    "feeds", [{"z": ROW["x"]}, {"x": ROW["x"].astype(np.float64)}, {"x": ROW["x"].astype(">f4")}, {"x": ROW["x"][0]}]
)
def test_a_bad_input_is_one_and_the_process_lives(make: Make, feeds: dict[str, np.ndarray]) -> None:
    runner = make(graphs.linear())
    before = pid_of(runner)
    with pytest.raises(BadInput):
        runner.run(feeds)
    runner.run(ROW)
    assert pid_of(runner) == before


# Deaths


def test_a_run_whose_process_dies_is_run_once_more(make: Make) -> None:
    runner = make(graphs.loop(1.0))
    feeds = {"n": np.array(3), "x": np.ones((64, 64), np.float32)}
    first = pid_of(runner)
    os.kill(first, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, feeds)
        until(lambda: runner._child._number == 1)
        for each in (signal.SIGSEGV, signal.SIGCONT):
            os.kill(first, each)
        assert_array_equal(running.result(60)["y"], feeds["x"])
    assert pid_of(runner) != first
    assert runner.restarts == 1


def test_without_the_second_try_it_would_be_lost(make: Make) -> None:
    """The negative control of the test above."""
    runner = make(graphs.linear(), tries=1)
    os.kill(pid_of(runner), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, ROW)
        until(lambda: runner._child._number == 1)
        os.kill(pid_of(runner), signal.SIGKILL)
        with pytest.raises(RunFailed, match="the model's process died"):
            running.result(20)
    runner.run(ROW)


def test_rows_that_end_two_processes_are_to_blame(make: Make) -> None:
    runner = make(crashes.divides())
    good = {"x": np.array([[5]])}
    for _ in range(3):
        with pytest.raises(RunFailed, match=r"^the model's process died while it ran this request$"):
            runner.run({"x": np.array([[5], [crashes.KILLER]])})
        assert_array_equal(runner.run(good)["y"], crashes.quotients(good["x"]))
    assert runner.restarts == 6


def test_a_process_that_dies_between_runs_costs_none(make: Make) -> None:
    runner = make(graphs.linear())
    expected = runner.run(ROW)["y"]
    for _ in range(4):
        end(runner)
        assert runner.resident_bytes == 0
        assert_array_equal(runner.run(ROW)["y"], expected)
    assert runner.restarts == 4


def test_processes_that_keep_dying_by_themselves_are_a_crash_loop(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third that dies before its first run makes the version not ready, for ten seconds."""
    clock, told = ManualClock(), []
    runner = make(graphs.linear(), clock=clock, load_timeout_s=1e9, tell=told.append)
    runner.run(ROW)
    load, tries = Child.load, []

    def dies(child: Child, *rest: Any) -> Any:
        tries.append(child.pid)
        child.kill()
        return load(child, *rest)

    monkeypatch.setattr(Child, "load", dies)
    end(runner)
    for _ in range(5):
        with pytest.raises(NotReady, match="keeps dying by itself") as error:
            runner.run(ROW)
        assert error.value.retry_after_s == 10
    assert len(tries) == 3
    assert told == ["its processes keep dying by themselves, the next is tried in 10 s"]
    monkeypatch.undo()
    with pytest.raises(NotReady):
        runner.run(ROW)
    clock.advance(61)
    runner.run(ROW)
    assert len(told) == 1


def test_a_process_that_no_longer_fits_is_not_ready_and_its_death_is_counted_once_however_often_it_is_tried(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make(graphs.linear())

    def refused(*_: Any) -> Any:
        raise BadModel("so it says")

    end(runner)
    with monkeypatch.context() as patch:
        patch.setattr(Child, "load", refused)
        for _ in range(5):
            with pytest.raises(NotReady, match="cannot be started again: so it says"):
                runner.run(ROW)
    runner.run(ROW)


def test_a_cradle_that_dies_takes_no_run_with_it(make: Make, nursery: Nursery) -> None:
    runner = make(graphs.linear())
    expected = runner.run(ROW)["y"]
    parent = psutil.Process(pid_of(runner)).parent()
    assert parent is not None
    before = pid_of(runner)
    parent.kill()
    until(lambda: not alive(parent))
    assert_array_equal(runner.run(ROW)["y"], expected)
    assert pid_of(runner) == before, "its death was theirs"
    end(runner)
    assert_array_equal(runner.run(ROW)["y"], expected)


# Stopping and closing


def test_a_run_is_stopped_between_two_operators_and_the_process_lives(make: Make) -> None:
    runner = make(graphs.loop(1.0))
    before = pid_of(runner)
    feeds = {"n": np.array(2**40), "x": np.ones((64, 64), np.float32)}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, feeds)
        until(lambda: psutil.Process(before).cpu_times().user > 0.2)
        runner.stop()
        with pytest.raises(Stuck):
            running.result(20)
    assert pid_of(runner) == before
    runner.stop()  # too late for any run
    assert runner.run({**feeds, "n": np.array(3)})


def test_a_process_that_does_not_stop_is_ended(make: Make) -> None:
    runner = make(graphs.linear())
    first = pid_of(runner)
    os.kill(first, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, ROW)
        until(lambda: runner._child._number == 1)
        runner.stop()
        runner.stop()
        with pytest.raises(Stuck):
            running.result(20)
    runner.run(ROW)
    assert pid_of(runner) != first


def test_closing_ends_the_process_and_a_run_in_it(make: Make) -> None:
    runner = make(graphs.linear())
    child = psutil.Process(pid_of(runner))
    os.kill(child.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, ROW)
        until(lambda: runner._child._number == 1)
        runner.close()
        with pytest.raises(Stuck):
            running.result(20)
    with pytest.raises(RunFailed, match="closed"):
        runner.run(ROW)
    assert not alive(child)
    runner.close()


def test_a_load_is_given_up(make: Make) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    with pytest.raises(Stuck, match="cancelled"):
        make(graphs.slow_to_load(8000), cancel=cancel)
    timer.join()


def test_nothing_is_left_behind() -> None:
    """Neither descriptors, nor processes, nor the cradle once nobody needs it."""
    gc.collect()
    before, threads = len(list(Path("/proc/self/fd").iterdir())), {*threading.enumerate()}
    nursery = Nursery()
    recipe = Recipe(graphs.linear(), {}, CPU, None)
    runner = ProcessRunner(recipe, nursery, 0, cancel=threading.Event(), clock=MonotonicClock(), load_timeout_s=60)
    runner.run(ROW)
    end(runner)
    runner.run(ROW)
    child = psutil.Process(pid_of(runner))
    cradle = child.parent()
    assert cradle is not None
    runner.close()
    del recipe, nursery, runner
    for process in (child, cradle):
        with suppress(psutil.NoSuchProcess):
            process.wait(20)
    assert not cradle.is_running()
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
    until(lambda: not {*threading.enumerate()} - threads)


def test_a_process_that_describes_another_model_takes_nobodys_place(make: Make) -> None:
    runner = make(graphs.linear())
    other = Recipe(graphs.identity(TensorProto.INT8, ("N", 4)), {}, CPU, None)
    runner._load = lambda child, given_up: child.load(other, 0, given_up)
    end(runner)
    with pytest.raises(NotReady, match="describes another model"):
        runner.run(ROW)
