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
from dataclasses import asdict, dataclass
from pathlib import Path

from service.repository.card import Recipe


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
        """All selections, oldest first."""
        if not self._path.exists():
            return ()
        return tuple(Entry(**json.loads(line)) for line in self._path.read_text().splitlines())

    def select(self, recipe: Recipe, *, chosen_on_sha256: str, test_sha256: str) -> None:
        """Records a selection, on disk when this returns, before the test set is looked at.

        Raises:
            AlreadyChosen: the test set has decided about this recipe with other arguments.
        """
        entry = Entry(recipe.name, test_sha256, chosen_on_sha256, arguments_sha256(recipe))
        for earlier in self.entries():
            if (earlier.recipe, earlier.test_sha256) != (entry.recipe, entry.test_sha256):
                continue
            if earlier.arguments_sha256 == entry.arguments_sha256:
                return
            raise AlreadyChosen(
                f"Recipe {recipe.name!r} was already chosen with other arguments before test set "
                f"{test_sha256[:12]} was looked at; choosing again needs another test set."
            )
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())
