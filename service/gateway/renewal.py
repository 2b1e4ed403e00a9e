"""Reads keys and certificates again: at once when told, and by itself soon after their files changed.

So that whoever renews them, such as a mounted secret, need not reach this process. Knows nothing of what is in a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

LOOK_EVERY_S = 10.0

_Mark = tuple[int, int, int] | None


class Renewal:
    """What is read again.

    Args:
        readers: files -> what reads them again, and does not raise.
        look_every_s: how often to look whether a file changed.
    """

    def __init__(
        self, readers: Mapping[tuple[Path, ...], Callable[[], None]], look_every_s: float = LOOK_EVERY_S
    ) -> None:
        self._readers = readers
        self._look_every_s = look_every_s
        self._seen = {files: _marks(files) for files in readers}

    def read_all(self) -> None:
        """Reads every file again, changed or not."""
        self._seen = {files: _marks(files) for files in self._readers}
        for read_again in self._readers.values():
            read_again()

    def read_changed(self) -> None:
        """Reads those again that changed since they were read."""
        for files, read_again in self._readers.items():
            marks = _marks(files)
            if marks != self._seen[files]:
                self._seen[files] = marks
                read_again()

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
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
