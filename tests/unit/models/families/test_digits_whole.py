"""The family digits, from data to cards, twice in its small form: one epoch instead of eighty, and still a minute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
pytest.importorskip("torch_pruning", reason="torch-pruning comes with requirements/torch.txt")

from rich.console import Console

from models.data import digits
from models.evaluate.ledger import AlreadyChosen, Ledger
from models.families import digits as family
from models.families import registry
from models.families.making import Outcome, carry_out
from models.families.order import Order
from models.progress import Lines
from models.train.settings import TrainSettings
from service.repository.layout import Repository

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VERSIONS = ["1", "1-deep", "1-distilled", "1-fp16", "1-int4", "1-int8", "1-pruned"]
QUIET = Lines(Console(quiet=True))


def order(folder: Path, **changes: object) -> Order:
    there = Order("digits", folder / "repository" / "digits", folder / "work", folder / "ledger.jsonl", runs=5)
    return replace(there, quick=True, **changes)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Outcome, ...]]:
    folder = tmp_path_factory.mktemp("made")
    return folder, carry_out(order(folder), QUIET, lambda _: None)


def files(folder: Path) -> dict[str, bytes]:
    models = (*folder.rglob("model.onnx"), *folder.rglob("model.deep"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in models}


def test_all_versions_are_published_and_can_be_read(published: tuple[Path, tuple[Outcome, ...]]) -> None:
    folder, outcomes = published
    assert all(outcome.card for outcome in outcomes), outcomes
    repository = Repository(folder / "repository")
    assert repository.versions("digits") == VERSIONS
    assert repository.read_config("digits").labels == digits.LABELS
    cards = {name: repository.read_version("digits", name).card for name in VERSIONS}
    assert [card.variant_of for card in cards.values() if card] == [None, *["1"] * 6]
    assert all(card.verdict for name, card in cards.items() if card and name != "1")


def test_a_second_run_elsewhere_gives_the_same_models(
    published: tuple[Path, tuple[Outcome, ...]], tmp_path: Path
) -> None:
    carry_out(order(tmp_path), QUIET, lambda _: None)
    assert files(tmp_path) == files(published[0])


def test_every_choice_is_in_the_ledger(published: tuple[Path, tuple[Outcome, ...]]) -> None:
    entries = Ledger(published[0] / "ledger.jsonl").entries()
    names = ["digits-cnn", "int8-static", "int4", "fp16", "digits-pruned", "digits-distilled", "digits-deep"]
    assert [entry.recipe for entry in entries] == names


def test_other_arguments_cannot_be_tried_on_the_same_test_set(
    published: tuple[Path, tuple[Outcome, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(family.FAMILY, full=lambda bench: family.full(bench, TrainSettings(epochs=1, seed=3)))
    monkeypatch.setattr(registry, "families", lambda _: (other,))
    with pytest.raises(AlreadyChosen):
        carry_out(order(tmp_path, ledger=published[0] / "ledger.jsonl"), QUIET, lambda _: None)
    assert not (tmp_path / "repository" / "digits" / "1").exists()
