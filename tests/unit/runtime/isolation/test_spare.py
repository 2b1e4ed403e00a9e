"""A second process that is ready: it takes the place of the first, and never outlives its runner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from service.core.errors import BadModel, NotReady, Stuck
from service.runtime.isolation.child import Child
from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.isolation.recipe import Recipe
from tests.fakes import ManualClock
from tests.support.waiting import until
from tests.unit.runtime import graphs
from tests.unit.runtime.isolation.runners import ROW, Make, end, pid_of


@pytest.fixture
def spared(make: Make) -> ProcessRunner:
    """A runner whose spare is ready."""
    runner = make(graphs.linear(), spare=True)
    until(lambda: spare_of(runner) is not None)
    return runner


def spare_of(runner: ProcessRunner) -> Child | None:
    return runner._spare._child


def test_a_spare_takes_the_place_at_once_and_the_next_is_made_ready(spared: ProcessRunner) -> None:
    for _ in range(3):
        ready = spare_of(spared)
        assert ready is not None
        assert spared.resident_bytes > ready.resident_bytes > 0
        end(spared)
        spared.run(ROW)
        assert pid_of(spared) == ready.pid
        until(lambda: spare_of(spared) is not None)
    assert spared.restarts == 3


def test_a_spare_that_died_is_none(spared: ProcessRunner) -> None:
    ready = spare_of(spared)
    assert ready is not None
    ready.kill()
    until(lambda: not ready.alive)
    end(spared)
    spared.run(ROW)
    assert pid_of(spared) != ready.pid
    until(lambda: spare_of(spared) is not None)


def test_a_spare_ends_with_its_runner(spared: ProcessRunner) -> None:
    ready = spare_of(spared)
    assert ready is not None
    spared.close()
    assert not ready.alive
    assert spared.resident_bytes == 0


def test_a_spare_that_cannot_be_loaded_leaves_none(spared: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def refused(*_: Any) -> Any:
        failed.set()
        raise BadModel("so it says")

    with monkeypatch.context() as patch:
        patch.setattr(Child, "load", refused)
        end(spared)
        spared.run(ROW)
        assert failed.wait(20)
        until(lambda: not spared._spare._loading)
    end(spared)
    spared.run(ROW)


def test_a_load_for_which_there_is_no_thread_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make(graphs.linear())
    end(runner)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(NotReady, match="no thread"):
            runner.run(ROW)
    assert not runner._spare._loading  # which the next run would wait for
    runner.run(ROW)


class Loads:
    """Loads that hang until they are let go, or nobody wants them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.may_end = may_end = threading.Event()
        load = Child.load

        def hang(child: Child, recipe: Recipe, device_id: int, given_up: Callable[[], bool]) -> None:
            self.begun += 1
            while not may_end.wait(0.01):
                if given_up():
                    child.close()
                    raise Stuck("the load was cancelled")
            load(child, recipe, device_id, given_up)

        monkeypatch.setattr(Child, "load", hang)


@pytest.mark.parametrize("spare", [False, True])
def test_a_run_that_is_stopped_while_its_process_loads_leaves_the_load_to_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch, spare: bool
) -> None:
    """Else it would cost its engine, and the third the server; and a load longer than a run would never end."""
    runner = make(graphs.linear(), spare=spare)
    until(lambda: not runner._spare._loading)
    runner._spare.close()  # of what is ready
    runner._spare._closed = False
    loads = Loads(monkeypatch)
    end(runner)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            running = pool.submit(runner.run, ROW)
            until(lambda: loads.begun > 0)
            while not running.done():
                runner.stop()  # one that comes before the run is lost
                wait([running], 0.01)
            with pytest.raises(Stuck):
                running.result(20)
            del running  # its error holds this frame: as a cycle it would keep the cradle into other tests
    assert loads.begun == 1
    loads.may_end.set()
    runner.run(ROW)
    assert loads.begun <= 1 + spare
    assert runner.restarts == 1


def test_a_load_that_never_ends_is_given_up_in_its_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    runner = make(graphs.linear(), clock=clock, load_timeout_s=30.0)
    loads = Loads(monkeypatch)
    end(runner)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runner.run, ROW)
        until(lambda: loads.begun == 1)
        clock.advance(31)
        with pytest.raises(Stuck, match="the load was cancelled"):
            running.result(20)
        del running  # as above
    loads.may_end.set()
    runner.run(ROW)


def test_spares_that_never_load_are_one_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = make(graphs.linear(), spare=True)
    until(lambda: spare_of(runner) is not None)
    loads = Loads(monkeypatch)
    end(runner)
    runner.run(ROW)  # by the spare, and the next one hangs
    until(lambda: loads.begun == 1)
    for _ in range(3):
        runner._spare.prepare()
    assert loads.begun == 1


def test_a_spare_that_is_loaded_for_nobody_is_ended(make: Make) -> None:
    runner = make(graphs.mlp(16), spare=True)
    runner.close()
    until(lambda: not any(thread.name == "spare process" for thread in threading.enumerate()))
    assert spare_of(runner) is None
