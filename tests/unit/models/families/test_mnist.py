"""The family mnist in its small form: random images in MNIST's shape, one epoch, every version of both networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
pytest.importorskip("torch_pruning", reason="torch-pruning comes with requirements/torch.txt")

from rich.console import Console

from models.data.samples import Samples
from models.families import mnist as family
from models.families.family import Bench, Variant
from models.made import Made
from models.progress import Lines
from models.workbench import Workbench
from service.repository import deep_codec
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

VARIANTS = [variant for one in family.FAMILIES for variant in one.variants]


def images(count: int, seed: int) -> Samples:
    """Each class is a bright row of its own, which a network learns at once."""
    labels = np.random.default_rng(seed).integers(0, 10, count)
    pixels = np.random.default_rng(seed + 1).random((count, 1, 28, 28), dtype=np.float32) * 100
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label + 4] = 255
    return Samples({"image": pixels}, labels)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    parts = {name: images(count, at) for at, (name, count) in enumerate({"training": 400, "development": 60}.items())}
    work = Workbench(tmp_path_factory.mktemp("work"), Lines(Console(quiet=True)))
    return Bench({**parts, "calibration": images(40, 9)}, work, quick=True)


@pytest.fixture(scope="module")
def fulls(bench: Bench) -> dict[str, Made]:
    return {one.version: one.full(bench) for one in family.FAMILIES}


def make(variant: Variant, bench: Bench, full: Made, before: dict[str, Made]) -> Made:
    if variant.version not in before:
        before[variant.version] = variant.make(bench, full)
    return before[variant.version]


@pytest.fixture(scope="module")
def made_before() -> dict[str, Made]:
    """What was made in this module, by id: to make it again would show nothing new."""
    return {}


def test_both_networks_have_the_papers_size(fulls: dict[str, Made]) -> None:
    sizes = {version: len(made.onnx) for version, made in fulls.items()}
    assert sizes["1"] == pytest.approx(4 * 266_610, rel=0.01)
    assert sizes["2"] == pytest.approx(4 * 431_080, rel=0.01)


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.version for variant in VARIANTS])
def test_every_variant_is_made_loads_and_is_smaller(
    variant: Variant, bench: Bench, fulls: dict[str, Made], made_before: dict[str, Made]
) -> None:
    full = fulls[variant.version.partition("-")[0]]
    made = make(variant, bench, full, made_before)
    assert made.version == variant.version
    assert len(made.coded or made.onnx) < 0.6 * len(full.onnx)
    runner = OnnxRunner.load(made.onnx, {}, RunnerOptions(provider="cpu", threads=1))
    logits = runner.run(bench.parts["development"].inputs)[family.OUTPUT]
    runner.close()
    assert logits.shape == (60, 10)
    assert np.isfinite(logits).all()


def test_the_coded_file_is_a_thirtieth_and_decodes_to_what_is_measured(
    bench: Bench, fulls: dict[str, Made], made_before: dict[str, Made]
) -> None:
    (deep,) = [variant for variant in VARIANTS if variant.version == "1-deep"]
    made = make(deep, bench, fulls["1"], made_before)
    assert made.coded is not None
    assert deep_codec.decode(made.coded, limit_bytes=len(made.onnx)) == made.onnx
    assert len(fulls["1"].onnx) / len(made.coded) > 30


def test_the_recipes_names_are_apart_so_that_one_test_set_decides_about_each(
    bench: Bench, fulls: dict[str, Made], made_before: dict[str, Made]
) -> None:
    trained = [variant for variant in VARIANTS if variant.trained]
    names = [
        make(variant, bench, fulls[variant.version.partition("-")[0]], made_before).recipe.name for variant in trained
    ]
    assert len(set(names)) == len(names)


def test_a_finished_run_is_read_back(bench: Bench, fulls: dict[str, Made], tmp_path: Path) -> None:
    again = family.FAMILIES[0].full(bench)
    assert again.onnx == fulls["1"].onnx
    assert again.recipe == fulls["1"].recipe
