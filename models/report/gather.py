"""Reads what a report needs: the cards of a model's folder, and the test set that they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.data.samples import Samples, from_npz
from models.evaluate import measure
from models.families import registry
from models.report.examples import Examples, examples
from models.report.rows import Row, rows_of
from service.core.cpu import cpu_class
from service.core.errors import BadModel, NotFound
from service.repository.layout import Repository

NO_TEST_SET = "Name the test set with --test FILE.npz to see which inputs flip."


class CannotReport(ValueError):
    """There is nothing to report on; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A model's folder, read.

    Attributes:
        folder: `<repository>/<model>`.
        rows: a row for each version with a card.
        labels: names of the classes, where model.yaml gives them.
    """

    folder: Path
    rows: tuple[Row, ...]
    labels: tuple[str, ...]

    @property
    def model(self) -> str:
        """Its name."""
        return self.folder.name


def gather(folder: Path) -> Gathered:
    """Reads the cards of a model's folder.

    Raises:
        CannotReport: there is no such model, or no version of it has a card; or a card cannot be read.
    """
    folder = folder.resolve()
    try:
        repository = Repository(folder.parent)
        cards = [repository.read_card(folder.name, version) for version in repository.versions(folder.name)]
        labels = tuple(repository.read_config(folder.name).labels or ())
    except (NotFound, BadModel, OSError) as refusal:
        raise CannotReport(str(refusal)) from None
    rows = rows_of(card for card in cards if card is not None)
    if not rows:
        raise CannotReport(f"no version of {folder.name} has a card; `retort compress` and `retort train` write them.")
    return Gathered(folder, rows, labels)


def test_set(gathered: Gathered, file: Path | None, data: Path | None) -> tuple[Samples | None, str]:
    """The test set of the cards, or None and a sentence on how to name it.

    Args:
        gathered: the model.
        file: a .npz file of the user's, or None.
        data: the folder of a trainable model's data, or None.

    Raises:
        CannotReport: it has other rows than the cards', no labels, or cannot be read.
    """
    if file is not None:
        try:
            samples = from_npz(file.read_bytes())
        except (OSError, ValueError) as refusal:
            raise CannotReport(f"{file} cannot be read as a test set: {refusal}") from None
    else:
        known = _of_family(gathered.model, data)
        if known is None:
            return None, NO_TEST_SET
        samples = known
    if not samples.labelled:
        return None, "The test set has no labels, so that no input can be said to flip."
    _assert_same_rows(gathered, samples)
    return samples, ""


def flipped(
    gathered: Gathered, test: Samples, most: int, on_example: Callable[[], None] = lambda: None
) -> Mapping[str, Examples]:
    """Version -> its flipped inputs, of each variant whose full version is there.

    Raises:
        CannotReport: a version cannot be read.
    """
    repository = Repository(gathered.folder.parent)
    bench = measure.Bench(cpu_class())
    by_version = {row.version: row for row in gathered.rows}
    found = {}
    for row in gathered.rows:
        parent = row.card.variant_of
        if parent is None or parent not in by_version:
            continue
        try:
            full, own = (repository.read_version(gathered.model, name) for name in (parent, row.version))
        except (BadModel, NotFound) as refusal:
            raise CannotReport(str(refusal)) from None
        found[row.version] = examples(
            full.onnx,
            own.onnx,
            test,
            bench,
            output=measure.load(full.onnx, bench, _first(test)).runner.outputs[0].name,
            labels=gathered.labels,
            shown=most,
            on_example=on_example,
        )
    return found


def _of_family(model: str, data: Path | None) -> Samples | None:
    if model not in registry.NAMES:
        return None
    try:
        return registry.families(model)[0].load(data, Path.home() / ".cache" / "retort").parts["test"]
    except (OSError, ValueError):
        return None


def _assert_same_rows(gathered: Gathered, samples: Samples) -> None:
    splits = [row.card.data.splits for row in gathered.rows if row.card.data]
    told = {known["test"].sha256 for known in splits if "test" in known}
    if told and samples.sha256() not in told:
        raise CannotReport(f"these {len(samples)} rows are not the test set that the cards of {gathered.model} name.")


def _first(samples: Samples) -> dict[str, object]:
    return {name: array[:1] for name, array in samples.inputs.items()}
