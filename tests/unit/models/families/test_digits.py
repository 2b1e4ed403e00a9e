"""The script that makes digits, in short form: some of the rows, a few epochs, nothing timed."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

import typer  # noqa: E402

from models import digits as script  # noqa: E402
from models.data import digits  # noqa: E402
from models.data.samples import Samples  # noqa: E402
from models.evaluate.quality import predicted  # noqa: E402
from models.train.loop import TrainSettings  # noqa: E402
from service.core.cpu import cpu_class  # noqa: E402
from service.repository.layout import Repository  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402

SHORT = TrainSettings(epochs=5)
SHIPPED = Repository(Path(script.__file__).parent / "repository")


@pytest.fixture(scope="module")
def few() -> dict[str, Samples]:
    """The first rows of all parts but the test set, which making a model never sees."""
    return {name: part.take(range(100)) for name, part in digits.parts().items() if name != "test"}


def train(few: dict[str, Samples], settings: TrainSettings = SHORT) -> script.DigitsNet:
    return script.train(few, settings, on_epoch=lambda _: None)


def weights(network: script.DigitsNet) -> bytes:
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


@pytest.fixture(scope="module")
def network(few: dict[str, Samples]) -> script.DigitsNet:
    return train(few)


def test_a_second_run_gives_the_same_weights_to_the_bit(few: dict[str, Samples], network: script.DigitsNet) -> None:
    assert weights(train(few)) == weights(network)


def test_negative_control_another_seed_gives_others(few: dict[str, Samples], network: script.DigitsNet) -> None:
    assert weights(train(few, TrainSettings(epochs=5, seed=1))) != weights(network)


def test_both_versions_take_the_rows_as_they_are_kept_and_have_learnt(
    few: dict[str, Samples], network: script.DigitsNet
) -> None:
    full = script.to_onnx(network)
    variant = script.compress(full, few)
    assert len(variant) < 0.4 * len(full)
    for onnx in (full, variant):
        runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1))
        answers = runner.run(few["development"].inputs)[script.OUTPUT]
        runner.close()
        assert np.mean(predicted(answers) == few["development"].labels) > 0.5


def test_the_shipped_variant_is_what_the_script_makes_of_the_shipped_full_version() -> None:
    full, variant = (SHIPPED.read_version(digits.NAME, name) for name in (script.FULL, script.VARIANT))
    assert variant.card is not None
    if variant.card.quality_on("cpu", cpu_class()) is None:
        pytest.skip(f"made on another class of CPU than {cpu_class()}, where calibration may round differently")
    assert script.compress(full.onnx, digits.parts()) == variant.onnx


def test_the_shipped_cards_tell_the_arguments_of_the_script() -> None:
    cards = [SHIPPED.read_version(digits.NAME, name).card for name in (script.FULL, script.VARIANT)]
    assert [card.recipe for card in cards if card] == list(script.recipes(TrainSettings()))
    assert SHIPPED.read_config(digits.NAME).labels == digits.LABELS


@pytest.mark.parametrize("version", [script.FULL, script.VARIANT])
def test_what_is_published_is_refused_before_anything_is_trained(tmp_path: Path, version: str) -> None:
    (tmp_path / "digits" / version).mkdir(parents=True)
    with pytest.raises(typer.BadParameter, match=f"has a version {version}, and what is published is never changed"):
        script.main(tmp_path / "digits", ledger=tmp_path / "ledger.jsonl")
    assert not (tmp_path / "ledger.jsonl").exists()
