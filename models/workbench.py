"""Where a long run keeps what an interruption must not lose: finished stages and checkpoints; and its progress.

A stage that was finished is read back, not made again, as long as what it depends on is the same. Nothing here is
part of a result: the folder may be deleted at any time, at the price of doing the work again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Progress(Protocol):
    """Shows how far a task is; a context manager, so that an interruption leaves the terminal in order."""

    def task(self, name: str, total: int) -> AbstractContextManager[Callable[[str], None]]:
        """Begins a task of `total` steps; what it gives is called after each step, with a few figures to show."""


class Workbench:
    """The folder and the screen of one run.

    Args:
        folder: made if need be.
        progress: shows tasks.
        context: what every stage depends on, such as the hashes of the data; JSON can hold it.
        keeps: whether it writes stages; of several processes that do the same work, one does.
    """

    def __init__(
        self, folder: Path, progress: Progress, context: Mapping[str, Any] = NOTHING, *, keeps: bool = True
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._context = dict(context)
        self._keeps = keeps
        self.progress = progress

    def stage(self, name: str, depends_on: Mapping[str, Any], make: Callable[[], bytes]) -> bytes:
        """What `make` gives, from the folder if it was made there of the same.

        Args:
            name: of the stage, and of its file.
            depends_on: everything that the result follows from: arguments, seeds, hashes of inputs; JSON can hold it.
            make: makes it.
        """
        kept = self._path(name, depends_on, ".stage")
        if kept.exists():
            return kept.read_bytes()
        made = make()
        if not self._keeps:
            return made
        beside = kept.with_suffix(".tmp")
        with beside.open("wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(kept)
        return made

    def checkpoint(self, name: str, depends_on: Mapping[str, Any]) -> Path:
        """A file for the checkpoint of a training run; another one when what it depends on is not the same."""
        return self._path(name, depends_on, ".pt")

    def _path(self, name: str, depends_on: Mapping[str, Any], suffix: str) -> Path:
        told = json.dumps([self._context, dict(depends_on)], sort_keys=True)
        return self._folder / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}{suffix}"
