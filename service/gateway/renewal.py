"""Reads keys and certificates again: at once when told, and by itself soon after their files changed.

So that whoever renews them, such as a mounted secret, need not reach this process. A file is known by what it holds,
looked at before it is read: a change that comes within one tick of the clock, or while it is read, is seen at the next
look. Knows nothing of what a file means.
"""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

LOOK_EVERY_S = 10.0
_LOOKED_AT_BYTES = 1 << 20  # no file of keys is larger, and no chain

_Mark = tuple[int, int, int, bytes] | None


class Renewable(Protocol):
    """What was read from files."""

    def read_again(self) -> None:
        """Takes what they hold now; does not raise."""


R = TypeVar("R", bound=Renewable)


class Renewal:
    """What is read again.

    Args:
        look_every_s: how often to look whether a file changed.
    """

    def __init__(self, look_every_s: float = LOOK_EVERY_S) -> None:
        self._look_every_s = look_every_s
        self._read: dict[tuple[Path, ...], Renewable] = {}
        self._seen: dict[tuple[Path, ...], tuple[_Mark, ...]] = {}

    def follow(self, files: tuple[Path, ...], read: Callable[[], R]) -> R:
        """Has `read` read the files for the first time, and from then on reads what it returned again."""
        seen = _marks(files)
        found = read()
        self._read[files], self._seen[files] = found, seen
        return found

    def read_all(self) -> None:
        """Reads every file again, changed or not."""
        self._seen = {files: _marks(files) for files in self._read}
        for one in self._read.values():
            one.read_again()

    def read_changed(self) -> None:
        """Reads those again that changed since they were read."""
        for files, one in self._read.items():
            marks = _marks(files)
            if marks != self._seen[files]:
                self._seen[files] = marks
                one.read_again()

    async def watch(self) -> None:
        """`read_changed`, for ever."""
        while True:
            await asyncio.sleep(self._look_every_s)
            self.read_changed()


def _marks(files: tuple[Path, ...]) -> tuple[_Mark, ...]:
    return tuple(_mark(file) for file in files)


def _mark(file: Path) -> _Mark:
    try:
        found = file.stat()
        held = _digest(file) if stat.S_ISREG(found.st_mode) else b""  # a pipe would be emptied by a look
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size, held


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.sha256(opened.read(_LOOKED_AT_BYTES)).digest()
