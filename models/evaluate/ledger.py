"""The ledger: a test set decides about a recipe once. To measure again may confirm that choice, never make another.

One line of JSON for each (recipe, test set): the arguments that were chosen, by hash, and the set they were chosen on.
Whoever wants other arguments after the test set has spoken needs another test set, or owns up by another recipe name.

A test set whose rows were only given another form, such as another shape, has another hash and is no other test set:
its line says whose rows it has, and repeats the choice that was made with them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from service.repository.card import Recipe

_fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None  # where it is missing, writers do not wait


class BadLedger(ValueError):
    """The file is not a ledger, or a line of it is damaged; the message says which."""


class AlreadyChosen(ValueError):
    """This test set has already decided about this recipe with other arguments."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One selection; the hashes are SHA-256 in hex.

    Attributes:
        same_rows_as: None, or the earlier `test_sha256` of the same rows in another form: then this is no new choice
            but the earlier one, measured again.
    """

    recipe: str
    test_sha256: str
    chosen_on_sha256: str
    arguments_sha256: str
    same_rows_as: str | None = None


def arguments_sha256(recipe: Recipe) -> str:
    """Hash of a recipe's seed and steps, with every argument."""
    return hashlib.sha256(recipe.model_dump_json(exclude={"name"}).encode()).hexdigest()


class Ledger:
    """The file of selections; it need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> tuple[Entry, ...]:
        """All selections, oldest first. Raises BadLedger."""
        return self._parsed(self._path.read_bytes()) if self._path.exists() else ()

    def select(self, recipe: Recipe, *, chosen_on_sha256: str, test_sha256: str) -> None:
        """Records a selection, on disk when this returns, before the test set is looked at.

        Raises:
            AlreadyChosen: the test set has decided about this recipe with other arguments.
            BadLedger: what was chosen before cannot be read.
            OSError: the disk refused; the ledger is as it was.
        """
        entry = Entry(recipe.name, test_sha256, chosen_on_sha256, arguments_sha256(recipe))
        with (
            self._path.open("a+", encoding="utf-8", errors="replace") as file,
            _alone(file),
        ):  # two that choose at once do not both find nothing
            file.seek(0)
            if not _confirmed(self._parsed(file.read().encode()), entry):
                _append(file, entry)

    def _parsed(self, data: bytes) -> tuple[Entry, ...]:
        found = []
        for number, line in enumerate(data.splitlines(), 1):
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError):
                raise BadLedger(f"{self._path}, line {number}, is no entry of a ledger; mend or remove it.") from None
        return tuple(found)


def _confirmed(earlier: tuple[Entry, ...], entry: Entry) -> bool:
    """Whether the same choice is there already. Raises AlreadyChosen where another one is."""
    same = [one for one in earlier if (one.recipe, one.test_sha256) == (entry.recipe, entry.test_sha256)]
    if any(one.arguments_sha256 != entry.arguments_sha256 for one in same):
        raise AlreadyChosen(
            f"Recipe {entry.recipe!r} was already chosen with other arguments before test set "
            f"{entry.test_sha256[:12]} was looked at; choosing again needs another test set."
        )
    return bool(same)


def _append(file: TextIO, entry: Entry) -> None:
    end = file.seek(0, os.SEEK_END)
    try:
        file.write(json.dumps(asdict(entry)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), end)  # half a line would spoil the next one
        raise


@contextmanager
def _alone(file: TextIO) -> Iterator[None]:
    """Until the block ends no other process selects."""
    if _fcntl is not None:
        _fcntl.flock(file, _fcntl.LOCK_EX)  # let go when the file is closed
    yield
