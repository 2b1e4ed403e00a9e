"""The family cifar10 in its small form, on a few of the real images: every version is made, and of what it says."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("torch_pruning", reason="torch-pruning comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
pytest.importorskip("PIL.Image", reason="pillow comes with the workshop extra")

from models.data import cifar10 as data  # noqa: E402
from models.families import cifar10  # noqa: E402
from models.families.family import Bench  # noqa: E402
from models.made import Made  # noqa: E402
from models.workbench import Workbench  # noqa: E402
from service.core.contract import TensorSpec  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402
from tests.support.real_data import real_data  # noqa: E402


class Told:
    """Keeps which tasks were begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    @contextmanager
    def task(self, name: str, total: int):  # type: ignore[no-untyped-def]
        assert total > 0
        self.begun.append(name)
        yield lambda figures: None


def _bench(folder: Path, told: Told) -> Bench:
    real_data("resnet-cifar10")
    root = real_data("cifar10").parent
    some = data.read(data.find(root, data.FILES[0]), every=200)
    test = data.read(data.find(root, data.FILES[1]), every=200)
    parts = dict(data.cut(some, test, {"calibration": 64, "development": 64}).parts)
    del parts["test"]
    return Bench(parts, Workbench(folder, told), quick=True, data=root)


def _answers(made: Made, bench: Bench) -> np.ndarray:
    runner = OnnxRunner.load(made.onnx, {}, RunnerOptions(provider="cpu", threads=1))
    assert runner.inputs == (TensorSpec("image", "FP32", ("batch", 3, 32, 32)),)
    return runner.run(bench.parts["calibration"].inputs)["logits"]


def test_every_version_is_made_and_an_interrupted_run_makes_nothing_twice(tmp_path: Path) -> None:
    told = Told()
    bench = _bench(tmp_path, told)
    full = cifar10.FAMILY.full(bench)
    made = {one.version: one.make(bench, full) for one in cifar10.FAMILY.variants}
    assert all(version == one.version for version, one in made.items())
    logits = {version: _answers(one, bench) for version, one in {"1": full, **made}.items()}
    assert {answers.shape for answers in logits.values()} == {(64, 10)}
    assert all(np.isfinite(answers).all() for answers in logits.values())
    sizes = {version: len(one.onnx) for version, one in {"1": full, **made}.items()}
    assert sizes["1-int8"] < 0.5 * sizes["1"]
    assert sizes["1-pruned"] < 0.7 * sizes["1"]
    assert sizes["1-pruned-int8"] < 0.6 * sizes["1-pruned"]
    assert (logits["1-int8"].argmax(1) == logits["1"].argmax(1)).mean() > 0.6
    assert sorted(name for name in told.begun if not name.startswith("1-")) == ["pruned", "resnet20", "resnet56"]
    again = Told()
    assert cifar10.FAMILY.full(_bench(tmp_path, again)).onnx == full.onnx
    assert again.begun == []


def test_the_steps_of_a_recipe_are_told_with_every_argument(tmp_path: Path) -> None:
    bench = _bench(tmp_path, Told())
    (taken,) = cifar10._taken("resnet20.onnx", bench)
    assert len(str(taken.arguments["sha256"])) == 64
    step = cifar10.STUDENT.step(network="ResNet", blocks=3)
    assert step.technique == "distil"
    assert {"teacher", "temperature", "share", "rows", "learning_rate", "seed"} <= step.arguments.keys()
    assert cifar10.FULL.step().technique == "train"
    assert "teacher" not in cifar10.FULL.step().arguments


def test_without_a_folder_the_family_says_what_it_wants(tmp_path: Path) -> None:
    with pytest.raises(data.NoData, match="cifar10 is not shipped"):
        cifar10.FAMILY.load(None, tmp_path)


def test_variants_begin_with_the_full_versions_id_and_none_is_there_twice() -> None:
    versions = [one.version for one in cifar10.FAMILY.variants]
    assert len(set(versions)) == len(versions)
    assert all(version.startswith(f"{cifar10.FAMILY.version}-") for version in versions)
