"""Remembers across restarts which version of each model is active.

The file on disk is always whole: the old content or the new one, whenever the machine stops. A disk that cannot be
read or written costs the memory across restarts and nothing else; whoever asks is told in one sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.repository.names import is_name

_SCHEMA = "retort.state/1"
_LIMIT_BYTES = 16 << 20


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
    """One JSON file, read once when constructed; safe to use from several threads of one process.

    Args:
        path: None remembers nothing beyond this process.

    Attributes:
        problem: why what was written before could not be read, in one sentence; None when it could.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._records: dict[str, ActiveRecord] = {}
        self.problem: str | None = None
        if path is not None:
            self._load(path)

    def read(self) -> dict[str, ActiveRecord]:
        """Model -> what is remembered of it; a copy. Waits for no disk, not even while another thread writes."""
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
            try:
                _replace(self._path, _encode(self._records))
            except OSError as error:
                return f"The state file cannot be written: {_reason(error)}."
            return None

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._records = _decode(file.read(_LIMIT_BYTES + 1))
        except FileNotFoundError:
            return
        except OSError as error:
            self.problem = f"The state file cannot be read: {_reason(error)}."
        except (ValueError, RecursionError):
            self.problem = "The state file is damaged; active versions are chosen as on a first start."


def _replace(path: Path, content: bytes) -> None:
    """Writes beside, then renames over: each step leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two processes from writing the same temporary file while one takes over from the other.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    # The new name is durable only when the folder that holds it is.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
