"""Sessions and trials where the system gives fewer threads or processes than they need."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Callable

import pytest

from service.core.errors import Unavailable
from service.runtime import trial_process
from service.runtime.providers import RunnerOptions
from service.runtime.session import open_session
from service.runtime.spare_threads import check_threads
from service.runtime.trial import run_trial
from tests.unit.runtime import graphs

THREADS = RunnerOptions(threads=4)


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Lets the system give so many more threads."""
    start = threading.Thread.start
    left = [0]

    def scarce(thread: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    def give(count: int) -> None:
        left[0] = count
        monkeypatch.setattr(threading.Thread, "start", scarce)

    return give


@pytest.mark.parametrize("free", [0, 1, 2])
def test_a_session_with_too_few_threads_is_not_begun(leave: Callable[[int], None], free: int) -> None:
    leave(free)
    with pytest.raises(Unavailable, match="no more threads now"):
        open_session(graphs.linear(), {}, THREADS)


def test_control_with_as_many_as_it_needs_it_is_built(leave: Callable[[int], None]) -> None:
    leave(3)  # beside the one that runs it
    assert open_session(graphs.linear(), {}, THREADS).get_inputs()


@pytest.mark.parametrize(
    ("session", "needed"),
    [
        ({"parallel": True}, 4),  # one of four cores is the caller's
        ({"parallel": True, "inter_op_threads": 3}, 3),
        ({"inter_op_threads": 3}, 1),  # of which one operator after the other makes no use
    ],
)
def test_operators_side_by_side_need_theirs_too(
    leave: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, session: dict[str, object], needed: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    options = RunnerOptions(threads=2, session=session)
    leave(needed - 1)
    with pytest.raises(Unavailable, match="no more threads now"):
        open_session(graphs.linear(), {}, options)
    leave(needed)
    assert open_session(graphs.linear(), {}, options).get_inputs()


def test_a_load_that_can_be_cancelled_needs_one_more(leave: Callable[[int], None]) -> None:
    leave(0)
    with pytest.raises(Unavailable, match="no more threads now"):
        open_session(graphs.linear(), {}, RunnerOptions(threads=1), threading.Event())


def test_those_that_were_asked_for_are_gone_again(leave: Callable[[int], None]) -> None:
    before = threading.active_count()
    check_threads(5)
    leave(3)
    with pytest.raises(Unavailable):
        check_threads(5)
    assert threading.active_count() == before


def test_a_trial_that_gets_no_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none_left)
    with pytest.raises(Unavailable, match=r"no process can be started .*: resource temporarily unavailable"):
        run_trial(graphs.linear(), {}, [], THREADS)


def test_a_trial_that_gets_no_thread_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch, leave: Callable[[int], None]
) -> None:
    started: list[trial_process.TrialProcess] = []
    start = trial_process.start

    def kept(limits: trial_process.TrialLimits) -> trial_process.TrialProcess:
        started.append(start(limits))
        return started[0]

    monkeypatch.setattr(trial_process, "start", kept)
    leave(0)
    with pytest.raises(Unavailable, match="no more threads now"):
        run_trial(graphs.linear(), {}, [], THREADS)
    assert started[0].popen.returncode is not None
