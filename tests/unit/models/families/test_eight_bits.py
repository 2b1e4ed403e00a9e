"""The choice among 8-bit forms: the first that keeps enough is taken, else the best; its arguments are told."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from models.compress.int8_static import Int8Static
from models.data.samples import Samples
from models.families.eight_bits import Choice, accuracy, eight_bits, first
from models.families.family import Bench
from models.made import Made
from models.workbench import Workbench
from service.repository.card import Recipe, Step
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.models.compress.networks import convolutional, images

ALL = Int8Static()
ONE = Int8Static(op_types=("Gemm",), per_channel=False, reduce_range=True)


class Silent:
    def __init__(self) -> None:
        self.figures: list[str] = []

    @contextmanager
    def task(self, name: str, total: int):  # type: ignore[no-untyped-def]
        yield self.figures.append


@pytest.fixture(scope="module")
def parent() -> Made:
    return Made("1", convolutional(), Recipe(name="parent", seed=3, steps=(Step(technique="train"),)))


@pytest.fixture(scope="module")
def labelled(parent: Made) -> Samples:
    """Rows whose labels are the parent's own answers."""
    runner = OnnxRunner.load(parent.onnx, {}, RunnerOptions(provider="cpu", threads=1))
    inputs = images(300)
    return Samples(inputs, runner.run(inputs)["logits"].argmax(1).astype("int64"))


def _bench(folder: Path, labelled: Samples, shown: Silent, quick: bool = False) -> Bench:
    parts = {"development": labelled, "calibration": labelled.take(range(64))}
    return Bench(parts, Workbench(folder, shown), quick=quick)


def test_the_first_form_that_keeps_enough_is_taken(tmp_path: Path, parent: Made, labelled: Samples) -> None:
    shown = Silent()
    made = eight_bits("1-int8", _bench(tmp_path, labelled, shown), parent, Choice((ALL, ONE), enough=0.5), "logits")
    assert len(shown.figures) == 1
    assert made.version == "1-int8"
    assert made.recipe.name == "parent-int8"
    assert [step.technique for step in made.recipe.steps] == ["train", "preprocess", "int8_static"]
    assert made.recipe.steps[-1].arguments["op_types"] == ALL.op_types
    assert len(made.onnx) < len(parent.onnx)


def test_when_none_keeps_enough_the_best_on_the_development_part_is_taken(
    tmp_path: Path, parent: Made, labelled: Samples
) -> None:
    shown = Silent()
    choice = Choice((ALL, ONE), rows=300, enough=1.1)
    made = eight_bits("1-int8", _bench(tmp_path, labelled, shown), parent, choice, "logits")
    assert len(shown.figures) == 2
    scores = [float(figures.split("accuracy ")[1].split(",")[0]) for figures in shown.figures]
    assert round(accuracy(made.onnx, labelled, "logits"), 4) == max(scores)
    assert scores[0] != scores[1], "negative control: there was something to choose"
    assert made.recipe.steps[-1].arguments["op_types"] == (ALL, ONE)[scores.index(max(scores))].op_types


def test_the_small_form_tries_one(tmp_path: Path, parent: Made, labelled: Samples) -> None:
    shown = Silent()
    eight_bits("1-int8", _bench(tmp_path, labelled, shown, True), parent, Choice((ALL, ONE), enough=1.1), "logits")
    assert len(shown.figures) == 1


def test_accuracy_is_the_share_that_is_right(parent: Made, labelled: Samples) -> None:
    assert accuracy(parent.onnx, labelled, "logits") == 1.0
    wrong = Samples(labelled.inputs, (labelled.labels + 1) % 4)
    assert accuracy(parent.onnx, wrong, "logits") == 0.0


def test_no_more_rows_are_taken_than_there_are(labelled: Samples) -> None:
    assert len(first(labelled, 10)) == 10
    assert len(first(labelled, 10_000)) == 300
