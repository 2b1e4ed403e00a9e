"""Where a long run keeps what an interruption must not lose: finished stages, checkpoints, and its progress on screen.

A stage that was finished is read back, not made again, as long as what it depends on is the same. Nothing here is
part of a result: the folder may be deleted at any time, at the price of doing the work again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol


class Progress(Protocol):
    """Shows how far a task is; a context manager, so that an interruption leaves the terminal in order."""

    def task(self, name: str, total: int) -> AbstractContextManager[Callable[[str], None]]:
        """Begins a task of `total` steps; what it gives is called after each step, with a few figures to show."""


class Workbench:
    """The folder and the screen of one run.

    Args:
        folder: made if need be.
        progress: shows tasks.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.progress = progress

    def stage(self, name: str, depends_on: Mapping[str, Any], make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from the folder if it was made there of the same.

        Args:
            name: of the stage, and of its file.
            depends_on: everything that the result follows from: arguments, seeds, hashes of inputs; JSON can hold it.
            make: makes it.
        """
        kept = self._folder / f"{name}-{_key(depends_on)}.stage"
        if kept.exists():
            return kept.read_bytes()
        made = make()
        beside = kept.with_suffix(".tmp")
        beside.write_bytes(made)
        beside.replace(kept)
        return made

    def checkpoint(self, name: str, depends_on: Mapping[str, Any]) -> Path:
        """A file for the checkpoint of a training run; another one when what it depends on is not the same."""
        return self._folder / f"{name}-{_key(depends_on)}.pt"


def _key(depends_on: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode()).hexdigest()[:16]
