"""The family digits, in short form: some of the rows, a few epochs, nothing timed; and what is shipped of it."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from rich.console import Console  # noqa: E402

import models  # noqa: E402
from models.data import digits as data  # noqa: E402
from models.data.samples import Samples  # noqa: E402
from models.evaluate.quality import predicted  # noqa: E402
from models.families import digits as family  # noqa: E402
from models.families.family import Bench  # noqa: E402
from models.made import Made  # noqa: E402
from models.progress import Lines  # noqa: E402
from models.train.settings import TrainSettings  # noqa: E402
from models.workbench import Workbench  # noqa: E402
from service.core.cpu import cpu_class  # noqa: E402
from service.repository.layout import Repository  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402

SHORT = TrainSettings(epochs=5)
SHIPPED = Repository(Path(models.__file__).parent / "repository")
VARIANTS = {variant.version: variant for variant in family.FAMILY.variants}


@pytest.fixture(scope="module")
def few() -> dict[str, Samples]:
    """The first rows of all parts but the test set, which making a model never sees."""
    return {name: part.take(range(100)) for name, part in data.parts().items() if name != "test"}


def bench(parts: dict[str, Samples], folder: Path, *, quick: bool = False) -> Bench:
    return Bench(parts, Workbench(folder, Lines(Console(quiet=True))), quick)


@pytest.fixture(scope="module")
def full(few: dict[str, Samples], tmp_path_factory: pytest.TempPathFactory) -> Made:
    return family.full(bench(few, tmp_path_factory.mktemp("work")), SHORT)


@pytest.fixture(scope="module")
def shipped_full() -> Made:
    return Made("1", SHIPPED.read_version(data.NAME, "1").onnx, family.recipe())


def answers(onnx: bytes, samples: Samples) -> np.ndarray:
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1))
    logits = runner.run(samples.inputs)[family.OUTPUT]
    runner.close()
    return logits


def test_a_second_run_gives_the_same_file_to_the_bit(few: dict[str, Samples], full: Made, tmp_path: Path) -> None:
    assert family.full(bench(few, tmp_path), SHORT).onnx == full.onnx


def test_negative_control_another_seed_gives_another(few: dict[str, Samples], full: Made, tmp_path: Path) -> None:
    assert family.full(bench(few, tmp_path), TrainSettings(epochs=5, seed=1)).onnx != full.onnx


def test_it_takes_the_rows_as_they_are_kept_and_has_learnt(few: dict[str, Samples], full: Made) -> None:
    development = few["development"]
    assert np.mean(predicted(answers(full.onnx, development)) == development.labels) > 0.5


def test_the_shipped_int8_variant_is_what_its_recipe_makes_of_the_shipped_full_version(
    shipped_full: Made, tmp_path: Path
) -> None:
    shipped = SHIPPED.read_version(data.NAME, "1-int8")
    assert shipped.card is not None
    if shipped.card.quality_on("cpu", cpu_class()) is None:
        pytest.skip(f"made on another class of CPU than {cpu_class()}, where calibration may round differently")
    made = VARIANTS["1-int8"].make(bench(data.parts(), tmp_path), shipped_full)
    assert made.onnx == shipped.onnx
    assert made.recipe == shipped.card.recipe


def test_the_shipped_card_tells_the_arguments_of_the_family() -> None:
    card = SHIPPED.read_version(data.NAME, "1").card
    assert card is not None
    assert card.recipe == family.recipe()
    assert SHIPPED.read_config(data.NAME).labels == data.LABELS


@pytest.mark.parametrize("version", list(VARIANTS))
def test_every_variant_is_made_of_the_shipped_full_version_in_its_small_form(
    version: str, shipped_full: Made, tmp_path: Path
) -> None:
    parts = {name: part for name, part in data.parts().items() if name != "test"}
    made = VARIANTS[version].make(bench(parts, tmp_path, quick=True), shipped_full)
    assert made.version == version
    assert len(made.coded or made.onnx) < 0.6 * len(shipped_full.onnx)
    logits = answers(made.onnx, parts["development"])
    assert logits.shape == (197, 10)
    assert np.isfinite(logits).all()


def test_a_teacher_is_the_published_file(shipped_full: Made) -> None:
    development = data.part("development")
    with torch.no_grad():
        own = family.BUILD.teacher(shipped_full)(torch.from_numpy(development.inputs[data.INPUT])).numpy()
    assert np.abs(own - answers(shipped_full.onnx, development)).max() < 1e-4


def test_no_version_is_named_twice_and_each_names_the_full_one() -> None:
    names = [variant.version for variant in family.FAMILY.variants]
    assert len(set(names)) == len(names)
    assert all(name.startswith(f"{family.FULL}-") for name in names)
