"""A second process that is ready: it takes the place of the first, and never outlives its runner."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.core.errors import BadModel
from service.runtime.isolation.child import Child
from service.runtime.isolation.process_runner import ProcessRunner
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
    assert runner._spare is not None
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
    end(spared)
    spared.run(ROW)


def test_a_spare_that_is_loaded_for_nobody_is_ended(make: Make) -> None:
    runner = make(graphs.mlp(16), spare=True)
    runner.close()
    until(lambda: not any(thread.name == "spare process" for thread in threading.enumerate()))
    assert spare_of(runner) is None
