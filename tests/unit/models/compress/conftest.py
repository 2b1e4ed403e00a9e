"""Four real graphs, preprocessed: the shipped digits, a multilayer perceptron, a transformer block, a ResNet-20."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.compress.preprocess import Preprocess, preprocess
from models.data import digits
from models.evaluate.sensitivity import batch_sensitivity
from service.core.contract import Arrays
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.support.real_data import real_data

Logits = np.ndarray[Any, np.dtype[np.float32]]
SHIPPED = Path(digits.__file__).parents[1] / "repository" / "digits" / "1" / "model.onnx"


def load(model: bytes) -> OnnxRunner:
    return OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))


@dataclass(frozen=True, slots=True)
class Real:
    """A preprocessed model, rows to calibrate on, and other rows to try it on; one output."""

    name: str
    onnx: bytes
    calibration: Arrays
    rows: Arrays

    def answers(self, model: bytes) -> Logits:
        (output,) = load(model).run(self.rows).values()
        return output

    def error(self, model: bytes) -> float:
        """Relative L2 distance of the answers from those of the model before."""
        expected = self.answers(self.onnx)
        return float(np.linalg.norm(self.answers(model) - expected) / np.linalg.norm(expected))

    def agreement(self, model: bytes) -> float:
        return float(np.mean(self.answers(model).argmax(1) == self.answers(self.onnx).argmax(1)))

    def sensitivity(self, model: bytes) -> float:
        return batch_sensitivity(load(model), {name: array[:32] for name, array in self.rows.items()}, sizes=(2, 8))


@pytest.fixture(scope="session")
def digits_net() -> Real:
    parts = digits.parts()
    onnx = preprocess(SHIPPED.read_bytes(), Preprocess())
    return Real("digits", onnx, parts["calibration"].inputs, parts["development"].inputs)


@pytest.fixture(scope="session")
def mlp() -> Real:
    """Three linear layers as torch exports them: Gemm with the weight turned."""
    torch, export = _torch()
    torch.manual_seed(0)
    linear, relu = torch.nn.Linear, torch.nn.ReLU()
    network = torch.nn.Sequential(linear(64, 256), relu, linear(256, 64), relu, linear(64, 10))
    exported = export(network, torch.zeros(2, 64), input_name="x", output_name="logits")
    rows = np.random.default_rng(1).standard_normal((160, 64)).astype(np.float32)
    return Real("mlp", preprocess(exported, Preprocess()), {"x": rows[:64]}, {"x": rows[64:]})


@pytest.fixture(scope="session")
def block_as_exported() -> bytes:
    torch, export = _torch()
    from tests.unit.models.compress.transformer import Block  # noqa: PLC0415 - where torch is missing, this is skipped

    torch.manual_seed(0)
    return export(Block(), torch.zeros(2, 8, dtype=torch.long), input_name="tokens", output_name="logits")


@pytest.fixture(scope="session")
def block(block_as_exported: bytes) -> Real:
    """Embedding, attention and feed-forward: MatMul of three axes, one Gemm."""
    tokens = np.random.default_rng(1).integers(0, 64, (96, 8))
    return Real("block", preprocess(block_as_exported, Preprocess()), {"tokens": tokens[:32]}, {"tokens": tokens[32:]})


@pytest.fixture(scope="session")
def resnet20() -> Real:
    onnx = (real_data("resnet-cifar10") / "resnet20.onnx").read_bytes()
    rows = _photographs(real_data("cifar10") / "cifar10_test_jpeg.npz", 96)
    return Real("resnet20", preprocess(onnx, Preprocess()), {"input": rows[:32]}, {"input": rows[32:]})


def _photographs(path: Path, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Images of all classes, as the network was trained to see them: (n, 3, 32, 32)."""
    image = pytest.importorskip("PIL.Image", reason="pillow decodes the images of TEST_DATA")
    with np.load(path, allow_pickle=False) as data:
        jpeg, offsets = data["jpeg"].tobytes(), data["offsets"]
    chosen = np.random.default_rng(0).permutation(len(offsets) - 1)[:n]  # they lie sorted by class
    pixels = np.stack([np.asarray(image.open(io.BytesIO(jpeg[offsets[i] : offsets[i + 1]]))) for i in chosen])
    scaled = (pixels / np.float32(255) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


@pytest.fixture(params=["digits_net", "mlp", "block", "resnet20"])
def real(request: pytest.FixtureRequest) -> Real:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Real)
    return found


def _torch() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
    pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")
    from models.train.export import export  # noqa: PLC0415 - imports torch

    return torch, export
