"""Remembers across restarts which version of each model is active.

The file on disk is always whole: the old content or the new one, whenever the machine stops. Several servers may share
it: a write keeps what the others wrote of other models. A disk that cannot be read or written costs the memory across
restarts and nothing else; whoever asks is told in one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from service.core.whole_file import replace_whole
from service.repository.names import is_name

_SCHEMA = "retort.state/1"
_LIMIT_BYTES = 16 << 20
_LOCK_RETRY_S = 0.02  # a write takes milliseconds, and flock itself knows no time limit
_fcntl = import_module("fcntl") if find_spec("fcntl") else None  # where it is missing, writers do not wait


@dataclass(frozen=True, slots=True)
class ActiveRecord:
    """What is remembered of one model.

    Attributes:
        active: the version that answers when the client names none.
        previous: the one before the last swap, for a rollback; None if there was none.
        config_active: `active:` of model.yaml when this was written; a change of it there wins over `active`.
        forced: whether `active` was put there over the gate's verdict.
    """

    active: str
    previous: str | None = None
    config_active: str | None = None
    forced: bool = False


class StateFile:
    """One JSON file, read once when constructed; safe to use from several threads and several processes.

    Args:
        path: None remembers nothing beyond this process.
        lock_wait_s: how long a write waits for another process that writes; then it gives up.

    Attributes:
        problem: why what was written before could not be read, in one sentence; None when it could.
    """

    def __init__(self, path: Path | None, *, lock_wait_s: float = 2.0) -> None:
        self._path = path
        self._lock_wait_s = lock_wait_s
        self._lock = threading.Lock()
        self._records: dict[str, ActiveRecord] = {}
        self._unwritten: dict[str, ActiveRecord] = {}  # written by this process, and not on disk; under the lock
        self._folder_is_durable = False  # under the lock
        self.problem: str | None = None
        if path is not None:
            self._load(path)

    def read(self) -> dict[str, ActiveRecord]:
        """Model -> what is remembered of it; a copy. Waits for no disk, not even while another thread writes.

        What other processes wrote since the start is not in it: each server goes by its own choices.
        """
        return dict(self._records)

    def write(self, model: str, record: ActiveRecord) -> str | None:
        """Remembers a record, durably when it returns None.

        Returns:
            Why it will not outlive this process, in one sentence; None when it will.
        """
        with self._lock:
            self._records = {**self._records, model: record}  # a new one: `read` takes no lock
            if self._path is None:
                return None
            self._unwritten[model] = record
            try:
                self._make_folder(self._path.parent)
                self._merge(self._path)
            except (OSError, MemoryError) as error:
                return f"The state file cannot be written: {_reason(error)}."
            self._unwritten.clear()
            return None

    def _load(self, path: Path) -> None:
        try:
            self._records = _read(path)
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"The state file cannot be read: {_reason(error)}."
        except (ValueError, RecursionError):
            self.problem = "The state file is damaged; active versions are chosen as on a first start."

    def _make_folder(self, folder: Path) -> None:
        if self._folder_is_durable and folder.is_dir():
            return
        self._folder_is_durable = False
        _make_durable_folder(folder)
        self._folder_is_durable = True

    def _merge(self, path: Path) -> None:
        """Adds to what is on disk now what this process knows better; all of it where nothing legible is there."""
        with _locked(path.parent, self._lock_wait_s) as folder:
            try:
                found = _read(path)
            except (FileNotFoundError, ValueError, RecursionError):
                found = self._records
            replace_whole(path, _encode({**found, **self._unwritten}))
            os.fsync(folder)  # the new name is durable only when the folder that holds it is


def _make_durable_folder(folder: Path) -> None:
    """Makes a folder and the parents it lacks.

    Every name on the way is synced, up to the mount point: whoever made one of them may have been stopped before that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for parent in folder.parents:
        with contextlib.suppress(PermissionError):  # of a folder that only others may list: it is not of our making
            descriptor = _open_folder(parent)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if os.path.ismount(parent):
            return


@contextlib.contextmanager
def _locked(folder: Path, wait_s: float) -> Iterator[int]:
    """A descriptor of the folder, which no other process holds locked until it is closed at the end.

    Raises:
        OSError: the folder cannot be opened, or another process held it for `wait_s`.
    """
    descriptor = _open_folder(folder)
    try:
        _lock(descriptor, wait_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, wait_s: float) -> None:
    end_s = time.monotonic() + wait_s
    while _fcntl is not None:
        try:
            _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end_s:
                raise TimeoutError(errno.ETIMEDOUT, "another process keeps its folder locked") from None
            time.sleep(_LOCK_RETRY_S)
        except OSError:
            return  # a file system that knows no locks; a disk that is broken refuses the write itself
        else:
            return


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _read(path: Path) -> dict[str, ActiveRecord]:
    """What the file says.

    Raises:
        OSError: it cannot be read.
        ValueError, RecursionError: it is damaged.
    """
    with path.open("rb") as file:
        return _decode(file.read(_LIMIT_BYTES + 1))


def _encode(records: Mapping[str, ActiveRecord]) -> bytes:
    models = {model: asdict(record) for model, record in sorted(records.items())}
    return json.dumps({"schema": _SCHEMA, "models": models}, indent=2).encode() + b"\n"


def _decode(data: bytes) -> dict[str, ActiveRecord]:
    document = json.loads(data) if len(data) <= _LIMIT_BYTES else None
    models = document.get("models") if isinstance(document, dict) and document.get("schema") == _SCHEMA else None
    if not isinstance(models, dict):
        raise ValueError("not a state file")
    return {model: _record(values) for model, values in models.items()}


def _record(values: Any) -> ActiveRecord:
    match values:
        case {
            "active": str(active),
            "previous": str() | None as previous,
            "config_active": str() | None as config_active,
            "forced": bool(forced),
        } if all(is_name(version) for version in (active, previous, config_active) if version is not None):
            return ActiveRecord(active, previous, config_active, forced)
    raise ValueError("not a record")


def _reason(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return (error.strerror or "unknown reason").lower()
