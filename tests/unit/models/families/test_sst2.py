"""The family `sst2` in its quick form: trained, cut to half its layers and half its heads, with one signature."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
pytest.importorskip("tokenizers", reason="tokenizers comes with the workshop extra")

from models.compress.checks import same_signature  # noqa: E402
from models.families import registry, sst2  # noqa: E402
from models.families.family import Bench  # noqa: E402
from models.made import Made  # noqa: E402
from models.workbench import Workbench  # noqa: E402
from service.repository.model_config import read_model_config  # noqa: E402
from tests.unit.models.families.test_banking77 import Silent, _run  # noqa: E402

PRAISE, BLAME = ("a fine film", "rare charm"), ("a dull film", "no charm")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    data, work = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("work")
    rows = [f"{PRAISE[n % 2]} {n}\t1\n{BLAME[n % 2]} {n}\t0\n" for n in range(120)]
    for name, part in (("train.tsv", rows[:90]), ("dev.tsv", rows[90:110]), ("test.tsv", rows[110:])):
        (data / name).write_text("sentence\tlabel\n" + "".join(part))
    parts = {name: part for name, part in sst2.FAMILY.load(data, work).parts.items() if name != "test"}
    return Bench(parts, Workbench(work, Silent()), quick=True)


@pytest.fixture(scope="module")
def full(bench: Bench) -> Made:
    return sst2.FAMILY.full(bench)


def test_the_full_version_answers_every_row(bench: Bench, full: Made) -> None:
    answers = _run(full.onnx, dict(bench.parts["development"].inputs))
    assert answers.shape == (len(bench.parts["development"]), 2)
    assert np.isfinite(answers).all()
    assert [step.technique for step in full.recipe.steps] == ["build", "train", "export"]


@pytest.mark.parametrize(("version", "cut"), [("1-layers", "reduce_layers"), ("1-heads", "prune_heads")])
def test_what_was_cut_is_smaller_and_keeps_the_signature(bench: Bench, full: Made, version: str, cut: str) -> None:
    made = next(one for one in sst2.FAMILY.variants if one.version == version).make(bench, full)
    assert made.version == version
    assert [step.technique for step in made.recipe.steps] == [cut, "distil", "export"]
    assert len(made.onnx) < len(full.onnx)
    same_signature(full.onnx, made.onnx, cut)


def test_recipes_differ_for_the_ledger_holds_one_choice_for_each(bench: Bench, full: Made) -> None:
    names = [one.version for one in sst2.FAMILY.variants]
    assert len(set(names)) == len(names) >= 4


def test_the_registry_knows_it_and_the_gateway_can_read_its_config(tmp_path: Path) -> None:
    (family,) = registry.families("sst2")
    assert family is sst2.FAMILY
    assert read_model_config(family.config, "model.yaml").pad is not None
