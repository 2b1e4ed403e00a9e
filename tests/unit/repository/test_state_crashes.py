"""A crash at any moment leaves the active versions as they were or as they became."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.repository.state_file import ActiveRecord, StateFile
from tests.unit.repository.states import NEW, OLD, read, refusal

STEPS = ((os, "open"), (fcntl, "flock"), (os, "write"), (os, "fsync"), (os, "close"), (os, "replace"))
A_SYNCED_FOLDER = ["open", "fsync", "close"]
A_WHOLE_WRITE = ["open", "flock", "open", "write", "fsync", "close", "replace", "fsync", "close"]
REPLACED_AT = len(A_SYNCED_FOLDER) + A_WHOLE_WRITE.index("replace") + 1


class PowerCut(BaseException):
    """The machine stops: nothing that would handle an error runs on the disk any more."""


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
    monkeypatch.setattr("service.repository.state_file.replace_whole", in_place)
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
