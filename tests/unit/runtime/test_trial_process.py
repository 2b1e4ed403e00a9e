"""The process of a trial: that it ends by itself, and what becomes of one that was started ahead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from service.core import interpreter
from service.runtime import trial_process
from service.runtime.providers import RunnerOptions
from service.runtime.trial import TrialResult, run_trial
from service.runtime.trial_process import TrialAhead, TrialLimits, limits_within
from tests.support.waiting import until
from tests.unit.runtime import graphs

LIMITS = TrialLimits(memory_bytes=512 << 20, timeout_s=30.0)


def processes() -> list[int]:
    """The trials of this process that are there."""
    return [child.pid for child in psutil.Process().children() if "service.runtime.trial_child" in words_of(child)]


def words_of(child: psutil.Process) -> list[str]:
    """Its command line, which a process that has just begun does not have for a moment."""
    until(lambda: child.cmdline() or child.status() == psutil.STATUS_ZOMBIE)
    return child.cmdline()


@pytest.fixture
def ahead() -> Iterator[TrialAhead]:
    one = TrialAhead(LIMITS)
    yield one
    one.close()


def test_one_without_a_parent_ends_by_its_alarm() -> None:
    process = trial_process.start(TrialLimits(timeout_s=-4)).popen  # its alarm after 1 s
    try:
        assert process.wait(20) == -signal.SIGALRM
    finally:
        process.kill()
        process.communicate()


def test_it_ends_before_its_load_is_given_up() -> None:
    """So that the refusal says at which stage the trial was, and not only that a load took too long."""
    assert 50 < limits_within(100, 1).timeout_s < 100
    assert limits_within(100, 1).memory_bytes == 1


def test_the_first_trial_takes_the_one_that_waits_and_the_next_starts_its_own(ahead: TrialAhead) -> None:
    [waiting] = processes()
    taken = ahead.take()
    assert taken is not None
    assert taken.popen.pid == waiting
    assert ahead.take() is None
    taken.popen.kill()
    taken.popen.communicate()


def test_a_trial_is_the_same_in_it(ahead: TrialAhead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_process, "start", pytest.fail)
    assert run_trial(graphs.linear(), {}, [], RunnerOptions(), LIMITS, ahead=ahead) == TrialResult(True)
    assert processes() == []


def test_a_trial_that_fails_in_it_fails_in_the_same_words(ahead: TrialAhead) -> None:
    broken = b"garbage" * 20
    expected = run_trial(broken, {}, [], RunnerOptions(), LIMITS)
    assert run_trial(broken, {}, [], RunnerOptions(), LIMITS, ahead=ahead) == expected
    assert not expected.ok


def test_one_that_has_died_is_not_taken_and_the_trial_goes_on(ahead: TrialAhead) -> None:
    [waiting] = processes()
    os.kill(waiting, signal.SIGKILL)
    psutil.Process(waiting).wait(20)
    assert run_trial(graphs.linear(), {}, [], RunnerOptions(), LIMITS, ahead=ahead) == TrialResult(True)


def test_one_that_has_waited_too_long_is_ended() -> None:
    """Its alarm has run on meanwhile, and would end the trial before its time."""
    ahead = TrialAhead(LIMITS, waits_s=0.0)
    assert ahead.take() is None
    assert processes() == []


def test_one_that_nobody_took_is_ended(ahead: TrialAhead) -> None:
    assert len(processes()) == 1
    ahead.close()
    assert processes() == []
    ahead.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell no child of its parent's death")
def test_it_ends_with_its_parent() -> None:
    script = (
        "from service.runtime.trial_process import *\nimport time\nahead = TrialAhead(TrialLimits())\n"
        "child = ahead._process.popen\nchild.stdout.readline()\nprint(child.pid, flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", script]
    parent = subprocess.Popen(command, cwd=interpreter.ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))  # which has begun to listen for that
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=20)
    for left in alive:
        left.kill()
    assert alive == []
