"""The launcher names what failed, forwards signals, and never leaves a process waiting or behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")

from models.train.launch import RankDied, launch  # noqa: E402
from tests.unit.models.train import ranks as entries  # noqa: E402

ENTRIES = entries.__name__
LONG = {"epochs": 100_000}


def test_no_processes_and_no_such_entry_are_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match="0 processes cannot train"):
        launch(0, f"{ENTRIES}:train", {})
    with pytest.raises(AttributeError, match="no_such"):
        launch(2, f"{ENTRIES}:no_such", {})


@pytest.mark.slow
def test_a_rank_that_raises_is_named_and_not_the_one_that_waited(tmp_path: Path) -> None:
    with pytest.raises(RankDied, match="Rank 1 of 2 ended with exit code 1; what it raised stands above"):
        launch(2, f"{ENTRIES}:fail", {"folder": str(tmp_path)})


@pytest.mark.slow
def test_a_rank_that_stops_answering_is_ended(tmp_path: Path) -> None:
    start_s = time.monotonic()
    with pytest.raises(RankDied, match="Rank 1 of 2 did not answer the others in time"):
        launch(2, f"{ENTRIES}:hang", {"folder": str(tmp_path)}, stuck_s=3)
    assert time.monotonic() - start_s < 60


@pytest.mark.slow
def test_the_environment_is_left_as_it_was() -> None:
    before = dict(os.environ)
    with pytest.raises(RankDied):
        launch(2, f"{ENTRIES}:fail", {"folder": "nowhere"})
    assert {name: os.environ.get(name) for name in before} == before
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def started(folder: Path) -> "subprocess.Popen[bytes]":
    """A process that launches two ranks which train for hours, once they have written a checkpoint."""
    code = (
        f"from models.train.launch import launch; launch(2, '{ENTRIES}:train', {{'folder': {str(folder)!r}, **{LONG}}})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    give_up_s = time.monotonic() + 60
    while not (folder / "run-of-2.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
    return process


def ranks_of(folder: Path) -> list[int]:
    """Ids of the processes whose command line names the folder, the launching one aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = path.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told and b"models.train.launch\0" in told:
            found.append(int(path.parent.name))
    return found


def gone(folder: Path, within_s: float) -> bool:
    give_up_s = time.monotonic() + within_s
    while time.monotonic() < give_up_s:
        if not ranks_of(folder):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_ranks_which_save_and_leave(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path)
    assert len(ranks_of(tmp_path)) == 2
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in told
    assert gone(tmp_path, within_s=5)


@pytest.mark.slow
def test_a_killed_launcher_leaves_no_rank_behind(tmp_path: Path) -> None:
    process = started(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert gone(tmp_path, within_s=20)
