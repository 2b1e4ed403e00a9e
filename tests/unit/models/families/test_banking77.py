"""The family `banking77` in its quick form: the whole path, with an encoder of a few thousand random weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
pytest.importorskip("safetensors", reason="safetensors comes with the workshop extra")
pytest.importorskip("tokenizers", reason="tokenizers comes with the workshop extra")

from models.families import banking77, registry  # noqa: E402
from models.families.family import Bench  # noqa: E402
from models.made import Made  # noqa: E402
from models.train import minilm  # noqa: E402
from models.workbench import Workbench  # noqa: E402
from service.repository.model_config import read_model_config  # noqa: E402
from service.runtime.onnx import OnnxRunner  # noqa: E402
from service.runtime.providers import RunnerOptions  # noqa: E402
from tests.unit.models.families import tiny_minilm  # noqa: E402

QUESTIONS = [f"{word} {n} please?,{word}\n" for n in range(40) for word in ("card", "fees", "pin")]


class Silent:
    """Progress that nobody sees."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[str], None]]:
        self.begun.append(name)
        yield lambda _: None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "train.csv").write_text("text,category\n" + "".join(QUESTIONS))
    (folder / "test.csv").write_text("text,category\nwhere is my card,card\n")
    tiny_minilm.write(folder / minilm.FOLDER, QUESTIONS)
    return folder


@pytest.fixture(scope="module")
def bench(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    work = tmp_path_factory.mktemp("work")
    parts = {name: part for name, part in banking77.load(data, work).parts.items() if name != "test"}
    return Bench(parts, Workbench(work, Silent()), quick=True, data=data)


@pytest.fixture(scope="module")
def full(bench: Bench) -> Made:
    return banking77.FAMILY.full(bench)


def _run(onnx: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1))
    answers = runner.run(inputs)["logits"]
    runner.close()
    return answers


def test_the_full_version_takes_texts_of_any_length(bench: Bench, full: Made) -> None:
    inputs = dict(bench.parts["development"].inputs)
    whole = _run(full.onnx, inputs)
    assert whole.shape == (len(bench.parts["development"]), 77)
    longest = int(inputs["attention_mask"].sum(1).max())
    cut = {name: array[:, :longest] for name, array in inputs.items()}
    assert np.allclose(_run(full.onnx, cut), whole, atol=1e-5)
    assert not np.allclose(_run(full.onnx, {name: array[:, :3] for name, array in inputs.items()}), whole, atol=1e-2)


def test_a_second_time_gives_the_same_bytes_from_its_stages(bench: Bench, full: Made) -> None:
    begun = Silent()
    again = Bench(bench.parts, Workbench(bench.work._folder, begun), quick=True, data=bench.data)
    assert banking77.FAMILY.full(again).onnx == full.onnx
    assert begun.begun == []


def test_half_of_the_layers_is_smaller_and_keeps_the_signature(bench: Bench, full: Made) -> None:
    half = next(one for one in banking77.FAMILY.variants if one.version == "1-layers").make(bench, full)
    assert half.version == "1-layers"
    assert len(half.onnx) < len(full.onnx)
    assert [step.technique for step in half.recipe.steps] == ["reduce_layers", "distil", "export"]
    inputs = dict(bench.parts["calibration"].inputs)
    assert _run(half.onnx, inputs).shape == _run(full.onnx, inputs).shape


def test_the_form_with_a_scale_a_row_answers_a_text_alone_as_among_others(bench: Bench, full: Made) -> None:
    variant = next(one for one in banking77.FAMILY.variants if one.version == "1-int8-per-row")
    made, inputs = variant.make(bench, full), dict(bench.parts["calibration"].inputs)
    together = _run(made.onnx, inputs)
    alone = np.concatenate([_run(made.onnx, {name: a[at : at + 1] for name, a in inputs.items()}) for at in range(4)])
    assert np.abs(together[:4] - alone).max() <= 1e-3 * np.abs(together).max()
    assert not np.array_equal(together, _run(full.onnx, inputs))


def test_the_registry_knows_it_and_the_gateway_can_read_its_config() -> None:
    (family,) = registry.families("banking77")
    assert family is banking77.FAMILY
    pad = read_model_config(family.config, "model.yaml").pad
    assert pad is not None
    assert pad.inputs == {"input_ids": 0, "attention_mask": 0}
