"""A folder to break, a place for a state file, and a record of every file and folder that was opened."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Real paths of whatever `os.open` opened since, in order."""
    paths: list[str] = []
    real_open: Callable[..., int] = os.open

    def recording_open(*args: Any, **kwargs: Any) -> int:
        descriptor = real_open(*args, **kwargs)
        paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return descriptor

    monkeypatch.setattr(os, "open", recording_open)
    return paths


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a state file, on a disk of its own that is mounted at `tmp_path`."""
    monkeypatch.setattr(os.path, "ismount", lambda folder: Path(folder) == tmp_path)
    return tmp_path / "state" / "active.json"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that nothing may read."""
    path = tmp_path / "outside" / "secret.bin"
    path.parent.mkdir()
    path.write_bytes(b"s" * 16)
    return path
