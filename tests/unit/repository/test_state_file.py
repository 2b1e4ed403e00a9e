"""The active versions outlive restarts, and servers that write at once lose nothing of one another's."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.repository import state_file
from service.repository.state_file import ActiveRecord, StateFile
from tests.unit.repository.states import NEW, OLD, read, refusal

KEPT_LOCKED = "The state file cannot be written: another process keeps its folder locked."


def test_remembers_across_restarts(path: Path) -> None:
    first = StateFile(path)
    assert first.read() == {} and first.problem is None
    assert first.write("digits", NEW) is None
    assert first.write("sst2", OLD) is None
    assert first.read() == read(path) == {"digits": NEW, "sst2": OLD}
    assert first.write("digits", OLD) is None
    assert read(path) == {"digits": OLD, "sst2": OLD}


def test_leaves_one_file_that_only_its_owner_reads(path: Path) -> None:
    StateFile(path).write("digits", NEW)
    assert [entry.name for entry in path.parent.iterdir()] == ["active.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_path_remembers_while_it_lives() -> None:
    file = StateFile(None)
    assert file.write("digits", NEW) is None
    assert file.read() == {"digits": NEW}
    assert StateFile(None).read() == {}


def test_what_is_read_is_a_copy(path: Path) -> None:
    file = StateFile(path)
    file.read()["digits"] = OLD
    assert file.read() == {}


def test_writers_of_many_threads_lose_nothing(path: Path) -> None:
    file = StateFile(path)
    threads = [
        threading.Thread(target=lambda number=number: file.write(f"m{number}", ActiveRecord(str(number))))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(path) == {f"m{number}": ActiveRecord(str(number)) for number in range(8)}


# Several servers


def test_a_write_keeps_what_another_server_wrote_of_another_model(path: Path) -> None:
    one, other = StateFile(path), StateFile(path)
    assert one.write("digits", NEW) is None
    assert other.write("sst2", OLD) is None
    assert read(path) == {"digits": NEW, "sst2": OLD}
    assert one.write("digits", OLD) is None
    assert read(path) == {"digits": OLD, "sst2": OLD}
    assert one.read() == {"digits": OLD}


def test_of_one_model_the_last_write_counts_and_each_server_goes_by_its_own(path: Path) -> None:
    one, other = StateFile(path), StateFile(path)
    one.write("digits", OLD)
    other.write("digits", NEW)
    one.write("sst2", OLD)
    assert read(path) == {"digits": NEW, "sst2": OLD}
    assert one.read() == {"digits": OLD, "sst2": OLD}


def test_what_could_not_be_written_is_written_with_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = StateFile(path), StateFile(path)
    one.write("sst2", OLD)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", refusal(path))
        assert one.write("digits", NEW) is not None
    other.write("sst2", NEW)
    one.write("net", OLD)
    assert read(path) == {"digits": NEW, "net": OLD, "sst2": NEW}


def test_want_of_memory_is_told_as_any_other_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raised, it would leave a swap refused whose version the next write calls active."""
    file = StateFile(path)
    assert file.write("digits", OLD) is None

    def starved(_: Path) -> dict[str, ActiveRecord]:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(state_file, "_read", starved)
        assert file.write("digits", NEW) == "The state file cannot be written: there is not enough memory."
    assert read(path) == {"digits": OLD} and file.read() == {"digits": NEW}


@pytest.mark.parametrize("content", [None, b"{"])
def test_a_file_that_vanished_or_was_damaged_is_replaced_by_what_is_known(path: Path, content: bytes | None) -> None:
    StateFile(path).write("digits", NEW)
    file = StateFile(path)
    file.write("sst2", OLD)
    path.unlink() if content is None else path.write_bytes(content)
    assert file.write("net", OLD) is None
    assert read(path) == {"digits": NEW, "net": OLD, "sst2": OLD}


def test_two_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from service.repository.state_file import *\n"
        "file = StateFile(Path(sys.argv[1]), lock_wait_s=60)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for number in range(50):\n"
        "    assert file.write(f'{sys.argv[2]}{number}', ActiveRecord(str(number))) is None\n"
        "    time.sleep(0.001)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    for child in started:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in started:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in started:
        child.communicate(timeout=100)
        assert child.returncode == 0
    assert read(path) == {f"{name}{number}": ActiveRecord(str(number)) for name in "ab" for number in range(50)}
    assert [entry.name for entry in path.parent.iterdir()] == ["active.json"]


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Locked as by another process, until the end or the call of what is given."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def test_a_lock_that_is_never_given_back_is_told_after_two_seconds(path: Path) -> None:
    file = StateFile(path)
    file.write("digits", OLD)
    with locked(path.parent):
        began_s = time.monotonic()
        assert file.write("digits", NEW) == KEPT_LOCKED
        assert 1.9 < time.monotonic() - began_s < 20
    assert read(path) == {"digits": OLD}
    assert file.write("sst2", OLD) is None
    assert read(path) == {"digits": NEW, "sst2": OLD}


def test_a_write_waits_for_another_process_that_writes(path: Path) -> None:
    file = StateFile(path, lock_wait_s=60)
    file.write("digits", OLD)
    with locked(path.parent) as unlock:
        later = threading.Timer(0.2, unlock)
        began_s = time.monotonic()
        later.start()
        assert file.write("digits", NEW) is None
        assert time.monotonic() - began_s > 0.15
        later.join()


def test_where_there_are_no_locks_it_is_written_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(path, lock_wait_s=0.05)
    file.write("digits", OLD)
    with locked(path.parent):
        assert file.write("digits", NEW) == KEPT_LOCKED
        monkeypatch.setattr(state_file, "_fcntl", None)
        assert file.write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_a_file_system_that_knows_no_locks_is_written_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert StateFile(path).write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_processes_of_the_same_number_never_write_the_same_temporary_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (used.append(str(source)), real(source, target)))
    for _container in range(2):
        StateFile(path).write("digits", NEW)
    assert len(set(used)) == 2


def test_a_temporary_name_that_is_taken_is_neither_followed_nor_removed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _bytes: "0" * 16)
    (tmp_path / "victim").write_text("precious")
    path.parent.mkdir()
    taken = path.with_name(".active.json.0000000000000000.tmp")
    taken.symlink_to(tmp_path / "victim")
    assert StateFile(path).write("digits", NEW) == "The state file cannot be written: file exists."
    assert taken.is_symlink() and (tmp_path / "victim").read_text() == "precious"


def test_reading_does_not_wait_for_a_slow_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(path)
    syncing, go_on, real = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        syncing.set()
        go_on.wait(60)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writer = threading.Thread(target=lambda: file.write("digits", NEW))
    writer.start()
    assert syncing.wait(20)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(file.read()))
    reader.start()
    reader.join(20)
    assert found == [{"digits": NEW}]
    go_on.set()
    writer.join()
    reader.join()
