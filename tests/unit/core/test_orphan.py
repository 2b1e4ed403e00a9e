from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from service.core import orphan

ROOT = Path(__file__).parents[3]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
# A parent that starts a child which sleeps for an hour, says its pid, and waits to be killed.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(3600)
"""
WATCHED = "import sys, time; from service.core.orphan import die_with; die_with(int(sys.argv[1])); "
SLEEP = "print('up', flush=True); time.sleep(3600)"
# The sleep is another program: what was asked for stays over an exec.
EXECUTED = f"import os; os.execv(sys.executable, [sys.executable, '-c', {'import time; ' + SLEEP!r}])"
UNWATCHED = "import time; "


def outlived(child: str) -> bool:
    """Whether the child is there after its parent was killed; it is not when this returns."""
    with subprocess.Popen([sys.executable, "-c", PARENT, child], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        orphaned = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs([orphaned], timeout=2 if child.startswith(UNWATCHED) else 20)
    for left in alive:
        left.kill()
    return bool(alive)


@LINUX
@pytest.mark.parametrize("then", [SLEEP, EXECUTED], ids=["itself", "another program"])
def test_a_child_ends_with_a_parent_that_was_killed(then: str) -> None:
    assert not outlived(WATCHED + then)


@LINUX
def test_a_child_that_does_not_ask_for_it_lives_on() -> None:
    """Negative control."""
    assert outlived(UNWATCHED + SLEEP)


@LINUX
def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    with pytest.raises(SystemExit):
        orphan.die_with(os.getpid())  # nobody is the child of itself
    orphan.ctypes.CDLL(None).prctl(orphan._PR_SET_PDEATHSIG, 0)  # this process is to survive its parent


def test_a_system_without_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphan.ctypes, "CDLL", lambda _: object())
    orphan.die_with(os.getpid())
