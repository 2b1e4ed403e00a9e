"""Adds this machine to the cards of published versions: what was measured elsewhere stays, no other file is touched.

The rows must be those that the card was judged on, by their hash; the whole test file, or what was left of it when a
part became the development set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models import order, source
from models.data import roles
from models.evaluate import gate
from models.evaluate.appraise import Trial
from models.evaluate.here import remeasured
from models.evaluate.version import Version
from models.order import BadOrder, How
from models.publish import replace_card
from service.repository.card import Card
from service.repository.layout import Repository


@dataclass(frozen=True, slots=True)
class Again:
    """One version's card before and after."""

    before: Card
    after: Card


def remeasure(path: Path, test: Path, how: How) -> Iterator[Again]:
    """Measures one version, or all of a model that have a card, full versions first, and replaces their cards.

    Args:
        path: `REPOSITORY/MODEL` or `REPOSITORY/MODEL/VERSION`.
        test: the test file.
        how: as the card was made.

    Raises:
        BadSource, BadData, BadOrder: what is wrong, in one sentence.
        GoldenBroken: a version answers other than recorded here.
    """
    path = path.resolve()
    is_version = (path / "card.json").exists()
    folder = path.parent if is_version else path
    repository = Repository(folder.parent)
    ids = [path.name] if is_version else repository.versions(folder.name)
    cards = [card for one in ids if (card := repository.read_card(folder.name, one)) is not None]
    if not cards:
        raise BadOrder(f"{path} has no version with a card.")
    for card in sorted(cards, key=lambda one: one.variant_of is not None):
        yield _again(repository, folder, card, test, how)


def _again(repository: Repository, folder: Path, card: Card, test: Path, how: How) -> Again:
    full = None if card.variant_of is None else _version(repository, folder, card.variant_of)
    read = source.read(folder / card.version)
    trial = _trial(read, card, test, how)
    after = remeasured(_version(repository, folder, card.version), full, trial, gate.PROFILES[how.profile])
    replace_card(folder / card.version, after.to_json())
    return Again(card, after)


def _version(repository: Repository, folder: Path, version: str) -> Version:
    repository.read_version(folder.name, version)  # every hash is held against the card
    card = repository.read_card(folder.name, version)
    if card is None:
        raise BadOrder(f"{folder.name}/{version} has no card, and its variants cannot be held against it.")
    return Version(card, {name: (folder / version / name).read_bytes() for name in card.files})


def _trial(read: source.Source, card: Card, test: Path, how: How) -> Trial:
    told = card.data.splits.get("test") if card.data else None
    whole, task, output = order.read_test(read, test, how.task, how.output, how.run_timeout_s)
    found = roles.judged(whole, (told.sha256,)) if told else None
    if found is None:
        raise BadOrder(f"{test} does not hold the rows that {card.model}/{card.version} was judged on.")
    bench = order.bench(how)
    return Trial(bench=bench, test=found, output=output, runs=how.runs, task=task)
