"""The active versions outlive a crash at any moment, and a bad disk costs nothing but the memory."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.repository.state_file import ActiveRecord, StateFile

OLD = ActiveRecord("1")
NEW = ActiveRecord("1-int8", "1", "1", forced=True)
STEPS = ("open", "write", "fsync", "close", "replace")


class PowerCut(BaseException):
    """The machine stops: nothing that would handle an error runs on the disk any more."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
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


# Crashes


def cut_power_at(monkeypatch: pytest.MonkeyPatch, occurrence: int, *, after: bool) -> list[str]:
    """Stops the machine before or after the n-th of the system calls that `STEPS` names; gives the calls made."""
    made: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            if len(made) > occurrence:
                raise PowerCut
            result = real(*args, **kwargs)
            if len(made) == occurrence and after:
                raise PowerCut
            return result

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    return made


def content_after_cut(path: Path, occurrence: int, *, after: bool) -> dict[str, ActiveRecord]:
    file = StateFile(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_power_at(monkeypatch, occurrence, after=after)
        with pytest.raises(PowerCut):
            file.write("digits", NEW)
    return read(path)


def calls_of_a_whole_write(path: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = cut_power_at(monkeypatch, 1000, after=False)
        StateFile(path).write("digits", OLD)
    return list(made)


def test_a_write_syncs_the_file_before_its_name_and_the_folder_after(path: Path) -> None:
    assert calls_of_a_whole_write(path) == ["open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


@pytest.mark.parametrize(
    ("occurrence", "after"), [(0, False), *((number, after) for number in range(1, 8) for after in (False, True))]
)
def test_a_crash_at_any_system_call_leaves_the_old_content_or_the_new(path: Path, occurrence: int, after: bool) -> None:
    StateFile(path).write("digits", OLD)
    replaced = occurrence >= 5
    assert content_after_cut(path, occurrence, after=after) == {"digits": NEW if replaced else OLD}
    assert StateFile(path).write("digits", NEW) is None
    assert read(path) == {"digits": NEW}


def test_negative_control_writing_in_place_loses_both(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_place(target: Path, content: bytes) -> None:
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, content)

    StateFile(path).write("digits", OLD)
    monkeypatch.setattr("service.repository.state_file._replace", in_place)
    file = StateFile(path)
    with pytest.MonkeyPatch.context() as cut:
        cut_power_at(cut, 1, after=True)
        with pytest.raises(PowerCut):
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


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_disk_that_refuses_is_told_and_never_fatal(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    StateFile(path).write("digits", OLD)
    file = StateFile(path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse)
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
