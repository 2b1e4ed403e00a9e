"""State files for tests: where one lies, what it holds, and a disk that refuses."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from service.repository.state_file import ActiveRecord, StateFile

OLD = ActiveRecord("1")
NEW = ActiveRecord("1-int8", "1", "1", forced=True)


def read(path: Path) -> dict[str, ActiveRecord]:
    """What a server that starts now finds there."""
    file = StateFile(path)
    assert file.problem is None
    return file.read()


def refusal(path: Path) -> Callable[..., None]:
    """A system call of a disk that may only be read."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    return refuse
