"""The active versions outlive a crash at any moment and other servers, and a bad disk costs nothing but the memory."""

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.repository import state_file
from service.repository.state_file import ActiveRecord, StateFile

OLD = ActiveRecord("1")
NEW = ActiveRecord("1-int8", "1", "1", forced=True)
STEPS = ((os, "open"), (fcntl, "flock"), (os, "write"), (os, "fsync"), (os, "close"), (os, "replace"))
A_SYNCED_FOLDER = ["open", "fsync", "close"]
A_WHOLE_WRITE = ["open", "flock", "open", "write", "fsync", "close", "replace", "fsync", "close"]
REPLACED_AT = len(A_SYNCED_FOLDER) + A_WHOLE_WRITE.index("replace") + 1
KEPT_LOCKED = "The state file cannot be written: another process keeps its folder locked."


class PowerCut(BaseException):
    """The machine stops: nothing that would handle an error runs on the disk any more."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On a disk of its own, mounted at `tmp_path`."""
    monkeypatch.setattr(os.path, "ismount", lambda folder: Path(folder) == tmp_path)
    return tmp_path / "state" / "active.json"


def read(path: Path) -> dict[str, ActiveRecord]:
    file = StateFile(path)
    assert file.problem is None
    return file.read()


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


# Crashes


class Machine:
    """One that stops before or after the n-th of the system calls that `STEPS` names; `made` has the calls."""

    def __init__(self, occurrence: int, *, after: bool) -> None:
        self.made: list[str] = []
        self._occurrence = occurrence
        self._after = after
        self._held: set[int] = set()

    @contextmanager
    def running(self) -> Iterator[None]:
        close = os.close
        with pytest.MonkeyPatch.context() as monkeypatch:
            for module, name in STEPS:
                monkeypatch.setattr(module, name, self._watched(name, getattr(module, name)))
            yield
        for descriptor in self._held:  # no lock outlives the machine
            close(descriptor)

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            if len(self.made) > self._occurrence:
                raise PowerCut
            result = real(*args, **kwargs)
            if name == "open":
                self._held.add(result)
            elif name == "close":
                self._held.discard(args[0])
            if len(self.made) == self._occurrence and self._after:
                raise PowerCut
            return result

        return call


def content_after_cut(path: Path, occurrence: int, *, after: bool) -> dict[str, ActiveRecord]:
    file = StateFile(path)
    with Machine(occurrence, after=after).running(), pytest.raises(PowerCut):
        file.write("digits", NEW)
    return read(path)


def calls_of_a_write(file: StateFile) -> list[str]:
    machine = Machine(1000, after=False)
    with machine.running():
        file.write("digits", OLD)
    return machine.made


def test_a_write_syncs_the_file_before_its_name_and_the_folder_after(path: Path) -> None:
    file = StateFile(path)
    assert calls_of_a_write(file) == A_SYNCED_FOLDER + A_WHOLE_WRITE
    assert calls_of_a_write(file) == A_WHOLE_WRITE
    path.unlink()
    path.parent.rmdir()
    assert calls_of_a_write(file) == A_SYNCED_FOLDER + A_WHOLE_WRITE


def synced_folders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inode of each folder that is synced from now on."""
    inodes: list[int] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            inodes.append(found.st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    return inodes


@pytest.mark.parametrize("made_by_another", [False, True])
def test_the_folders_on_the_way_are_durable_too(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by_another: bool
) -> None:
    deep = tmp_path / "a" / "b" / "c" / "active.json"
    if made_by_another:
        deep.parent.mkdir(parents=True)
    synced = synced_folders(monkeypatch)
    assert StateFile(deep).write("digits", NEW) is None
    up_to_the_mount = [*deep.parents][: [*deep.parents].index(tmp_path) + 1]
    assert sorted(synced) == sorted(folder.stat().st_ino for folder in up_to_the_mount)


def test_a_folder_on_the_way_that_cannot_be_synced_is_told_and_tried_again(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refusal(path))
        assert file.write("digits", NEW) == "The state file cannot be written: read-only file system."
    synced = synced_folders(monkeypatch)
    assert file.write("digits", NEW) is None
    assert tmp_path.stat().st_ino in synced


def test_a_folder_on_the_way_that_only_others_may_list_is_left_alone(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def forbid(target: Path, *args: Any) -> int:
        if target == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(target, *args)

    monkeypatch.setattr(os, "open", forbid)
    assert StateFile(path).write("digits", NEW) is None


@pytest.mark.parametrize(
    ("occurrence", "after"), [(0, False), *((number, after) for number in range(1, 12) for after in (False, True))]
)
def test_a_crash_at_any_system_call_leaves_the_old_content_or_the_new(path: Path, occurrence: int, after: bool) -> None:
    StateFile(path).write("digits", OLD)
    replaced = occurrence >= REPLACED_AT
    assert content_after_cut(path, occurrence, after=after) == {"digits": NEW if replaced else OLD}
    assert StateFile(path).write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_negative_control_writing_in_place_loses_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_place(target: Path, content: bytes) -> None:
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, content)

    opened_at = len([*A_SYNCED_FOLDER, "open", "flock", "open"])
    StateFile(path).write("digits", OLD)
    monkeypatch.setattr("service.repository.state_file._replace", in_place)
    file = StateFile(path)
    with Machine(opened_at, after=True).running(), pytest.raises(PowerCut):
        file.write("digits", NEW)
    assert StateFile(path).problem is not None


def test_a_killed_process_leaves_whole_content(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from service.repository.state_file import *\n"
        "file = StateFile(Path(sys.argv[1]))\n"
        "for number in range(10**6):\n"
        "    file.write('digits', ActiveRecord(str(number)))\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        written = [int(child.stdout.readline()) for _ in range(20)][-1]
        child.send_signal(signal.SIGKILL)
        written = max([written, *(int(line) for line in child.stdout if line.endswith("\n"))])
    assert int(read(path)["digits"].active) in (written, written + 1)


# Bad disks and bad content


def refusal(path: Path) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    return refuse


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_disk_that_refuses_is_told_and_never_fatal(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    file = StateFile(path)
    file.write("digits", OLD)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refusal(path))
        assert file.write("digits", NEW) == "The state file cannot be written: read-only file system."
    assert file.read() == {"digits": NEW}
    assert read(path) == {"digits": OLD}
    assert [entry.name for entry in path.parent.iterdir()] == ["active.json"]
    assert file.write("sst2", OLD) is None
    assert read(path) == {"digits": NEW, "sst2": OLD}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = StateFile(tmp_path / "file" / "active.json").write("digits", NEW)
    assert sentence is not None and str(tmp_path) not in sentence


def test_a_folder_in_the_files_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    file = StateFile(path)
    assert file.problem == "The state file cannot be read: is a directory."
    assert file.write("digits", NEW) == "The state file cannot be written: is a directory."


def document(record: object) -> bytes:
    return json.dumps({"schema": "retort.state/1", "models": {"digits": record}}).encode()


RECORD = {"active": "1", "previous": None, "config_active": None, "forced": False}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"schema": "retort.state/1"}'),
        b'{"schema": "other", "models": {}}',
        b'{"schema": "retort.state/1", "models": []}',
        document(None),
        document({}),
        document({**RECORD, "active": None}),
        document({**RECORD, "active": "../2"}),
        document({**RECORD, "previous": 0}),
        document({**RECORD, "previous": ""}),
        document({**RECORD, "config_active": ["1"]}),
        document({**RECORD, "forced": 1}),
    ],
)
def test_a_damaged_file_is_told_and_replaced_by_the_next_write(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    file = StateFile(path)
    assert file.problem == "The state file is damaged; active versions are chosen as on a first start."
    assert file.read() == {}
    assert file.write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_negative_control_the_record_itself_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(document(RECORD))
    assert read(path) == {"digits": OLD}


def test_an_enormous_file_is_damaged(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    os.truncate(path, 1 << 40)
    assert StateFile(path).problem is not None


def test_reading_does_not_wait_for_a_slow_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = StateFile(path)
    syncing, go_on, real = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        syncing.set()
        go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writer = threading.Thread(target=lambda: file.write("digits", NEW))
    writer.start()
    assert syncing.wait(10)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(file.read()))
    reader.start()
    reader.join(2)
    assert found == [{"digits": NEW}]
    go_on.set()
    writer.join()
    reader.join()


@given(content=st.binary(max_size=100))
def test_random_content_is_never_fatal(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / "active.json"
    path.write_bytes(content)
    assert StateFile(path).read() == {}
