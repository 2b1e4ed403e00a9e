"""Reads what a report needs: the cards of a model's folder, and the test set that they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.data import roles
from models.data.samples import Samples, from_npz
from models.evaluate import measure
from models.families import registry
from models.report.examples import Examples, Show, examples
from models.report.rows import Row, rows_of
from models.source import whole
from service.core.cpu import cpu_class
from service.core.errors import BadModel, NotFound, RetortError
from service.repository.card_measures import Quality
from service.repository.card_tasks import UnlabelledQuality
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
    if not any(_is_classifier(row) for row in gathered.rows):
        return None, "Only the classes of a classifier can flip, and these versions were measured as none."
    if file is not None:
        samples = _of_file(file)
    else:
        known = _of_family(gathered.model, data)
        if known is None:
            return None, NO_TEST_SET
        samples = known
    if not samples.labelled:
        return None, "The test set has no labels, so that no input can be said to flip."
    return _judged_rows(gathered, samples), ""


def flipped(
    gathered: Gathered, test: Samples, most: int, on_example: Callable[[], None] = lambda: None
) -> Mapping[str, Examples]:
    """Version -> its flipped inputs, of each variant whose full version is there.

    Raises:
        CannotReport: a version cannot be read.
    """
    repository = Repository(gathered.folder.parent)
    show = Show(measure.Bench(cpu_class()), gathered.labels, most, on_example)
    there = {row.version for row in gathered.rows}
    found = {}
    for row in gathered.rows:
        parent = row.card.variant_of
        if parent is None or parent not in there or not _is_classifier(row):
            continue
        mixes = row.card.batching is None or row.card.batching.mode == "any"
        try:
            full, own = (whole(repository.read_version(gathered.model, name)) for name in (parent, row.version))
            found[row.version] = examples(full, own, test, show, mixes=mixes)
        except (RetortError, ValueError) as refusal:
            raise CannotReport(f"{gathered.model}/{row.version} on the test set: {refusal}") from None
    return found


def _is_classifier(row: Row) -> bool:
    here = row.card.quality[0] if row.card.quality else None
    return isinstance(here, Quality) or (isinstance(here, UnlabelledQuality) and here.of == "classification")


def _of_file(file: Path) -> Samples:
    try:
        return from_npz(file.read_bytes())
    except (OSError, ValueError) as refusal:
        raise CannotReport(f"{file} cannot be read as a test set: {refusal}") from None


def _of_family(model: str, data: Path | None) -> Samples | None:
    if model not in registry.NAMES:
        return None
    try:
        return registry.families(model)[0].load(data, Path.home() / ".cache" / "retort").parts["test"]
    except (OSError, ValueError, ImportError) as refusal:
        if data is not None:
            raise CannotReport(f"{data} does not give the test set of {model}: {refusal}") from None
        return None


def _judged_rows(gathered: Gathered, samples: Samples) -> Samples:
    """The rows that the cards were judged on: all, or what was left when a part became the development set."""
    splits = [row.card.data.splits for row in gathered.rows if row.card.data]
    told = {known["test"].sha256 for known in splits if "test" in known}
    if not told:
        return samples
    found = roles.judged(samples, told)
    if found is None:
        raise CannotReport(f"these {len(samples)} rows are not the test set that the cards of {gathered.model} name.")
    return found
