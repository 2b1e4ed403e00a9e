"""The script that makes digits, from data to cards, twice: two epochs instead of eighty, and still a minute."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from models import digits as script
from models.data import digits
from models.data.samples import Samples, read_arrays
from models.evaluate.ledger import AlreadyChosen, Ledger
from models.evaluate.quality import predicted
from models.train.loop import Epoch, TrainSettings
from service.repository.layout import Repository
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

SHORT = TrainSettings(epochs=2)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def blind() -> dict[str, Samples]:
    """All parts but the test set."""
    return {name: part for name, part in digits.parts().items() if name != "test"}


@pytest.fixture(scope="module")
def epochs() -> list[Epoch]:
    return []


@pytest.fixture(scope="module")
def full(blind: dict[str, Samples], epochs: list[Epoch]) -> bytes:
    return script.to_onnx(script.train(blind, SHORT, on_epoch=epochs.append))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    script.main(
        folder / "repository" / "digits",
        ledger=folder / "ledger.jsonl",
        checkpoint=folder / "training.pt",
        epochs=SHORT.epochs,
        runs=5,
    )
    return folder


def test_two_epochs_already_learn(blind: dict[str, Samples], full: bytes, epochs: list[Epoch]) -> None:
    runner = OnnxRunner.load(full, {}, RunnerOptions(provider="cpu", threads=1))
    development = blind["development"]
    accuracy = (predicted(runner.run(development.inputs)["logits"]) == development.labels).mean()
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert accuracy == pytest.approx(max(epochs, key=lambda epoch: epoch.best).development_accuracy, abs=0.1)
    assert accuracy > 0.7


def test_a_second_run_that_never_sees_the_test_set_gives_the_same_files(
    published: Path, blind: dict[str, Samples], full: bytes
) -> None:
    files = [(published / "repository" / "digits" / name / "model.onnx").read_bytes() for name in ("1", "1-int8")]
    assert files == [full, script.compress(full, blind)]


def test_both_versions_are_published_and_can_be_read(published: Path) -> None:
    repository = Repository(published / "repository")
    assert repository.models() == ["digits"]
    assert repository.versions("digits") == ["1", "1-int8"]
    assert repository.read_config("digits").labels == digits.LABELS
    cards = [repository.read_version("digits", name).card for name in ("1", "1-int8")]
    assert cards[0] is not None
    assert cards[1] is not None
    assert (cards[0].variant_of, cards[1].variant_of) == (None, "1")
    assert cards[1].parent is not None
    assert cards[1].parent.sha256 == cards[0].files["model.onnx"].sha256
    assert cards[1].verdict in ("pass", "fail", "insufficient-data")


def test_golden_cases_are_for_the_same_rows(published: Path) -> None:
    cases = [
        read_arrays((published / "repository" / "digits" / name / "golden.npz").read_bytes())
        for name in ("1", "1-int8")
    ]
    assert np.array_equal(cases[0]["input/image"], cases[1]["input/image"])
    assert len(cases[0]["input/image"]) == script.GOLDEN_ROWS


def test_the_choice_is_in_the_ledger_before_anything_is_published(published: Path) -> None:
    entries = Ledger(published / "ledger.jsonl").entries()
    assert [entry.recipe for entry in entries] == ["digits-cnn", "int8-static"]
    arguments = json.loads((published / "repository" / "digits" / "1" / "card.json").read_text())["recipe"]["steps"]
    assert arguments[0]["arguments"]["epochs"] == SHORT.epochs


def test_other_arguments_cannot_be_tried_on_the_same_test_set(published: Path) -> None:
    with pytest.raises(AlreadyChosen):
        script.main(published / "other" / "digits", ledger=published / "ledger.jsonl", epochs=1, runs=5)
    assert not (published / "other").exists()
