"""Small models of several kinds, and samples for them in .npz files: what a user brings to `retort compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.data.samples import Samples
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

Arrays = dict[str, NDArray[Any]]


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    rng = np.random.default_rng(sum(shape))
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)


def two_inputs() -> bytes:
    """A regression: ids int64 [batch, words], numbers float32 [batch, 8] -> price float32 [batch, 1]."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["vectors"], name="look_up"),
        helper.make_node("ReduceMean", ["vectors", "axis"], ["mean"], keepdims=0, name="mean"),
        helper.make_node("Concat", ["mean", "numbers"], ["joined"], axis=1, name="join"),
        helper.make_node("MatMul", ["joined", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["price"], name="second"),
    ]
    weights = [
        _weight("table", 50, 24),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        _weight("w1", 32, 256),
        _weight("w2", 256, 1),
    ]
    inputs = [
        value("ids", TensorProto.INT64, ["batch", "words"]),
        value("numbers", TensorProto.FLOAT, ["batch", 8]),
    ]
    return graphs.model(nodes, inputs, [value("price", TensorProto.FLOAT, ["batch", 1])], weights)


def perceptron(width: int = 64, classes: int = 5, rows: int | str = "batch") -> bytes:
    """A classifier: x float32 [rows, 16] -> logits float32 [rows, classes]; the rows may be a fixed number."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["logits"], name="second"),
    ]
    weights = [_weight("w1", 16, width), _weight("w2", width, classes)]
    return graphs.model(
        nodes,
        [value("x", TensorProto.FLOAT, [rows, 16])],
        [value("logits", TensorProto.FLOAT, [rows, classes])],
        weights,
    )


def two_outputs() -> bytes:
    """x float32 [batch, 16] -> logits [batch, 5], and a hidden state [batch, 64]."""
    proto = onnx.load_from_string(perceptron())
    proto.graph.output.append(value("r", TensorProto.FLOAT, ["batch", 64]))
    return proto.SerializeToString()


def touchy() -> bytes:
    """x [batch, 16] -> logits [batch, 5]; in 8 bits, `first` suffers from a large column of x that has no weight."""
    first = numpy_helper.to_array(_weight("w1", 16, 64)).copy()
    first[0] = 0
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["h2"], name="second"),
        helper.make_node("Relu", ["h2"], ["r2"], name="relu2"),
        helper.make_node("MatMul", ["r2", "w3"], ["logits"], name="third"),
    ]
    return graphs.model(
        nodes,
        [value("x", TensorProto.FLOAT, ["batch", 16])],
        [value("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(first, "w1"), _weight("w2", 64, 256), _weight("w3", 256, 5)],
    )


def touching(n: int, seed: int = 0) -> Samples:
    """Rows for `touchy`, with a large column 0, and as labels its classes; only rows that it is sure of."""
    x = xs(6 * n, seed)["x"]
    x[:, 0] *= 2000
    logits = answers(touchy(), {"x": x})["logits"]
    top = np.sort(logits, axis=1)
    sure = np.flatnonzero(top[:, -1] - top[:, -2] > 0.25 * np.abs(logits).max())[:n]
    return Samples({"x": x[sure]}, logits[sure].argmax(axis=1).astype(np.int64))


def answers(model: bytes, inputs: Arrays) -> dict[str, NDArray[Any]]:
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    try:
        return runner.run(inputs)
    finally:
        runner.close()


def xs(n: int, seed: int = 0) -> Arrays:
    return {"x": np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)}


def prices(n: int, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "ids": rng.integers(0, 50, (n, 6), dtype=np.int64),
        "numbers": rng.standard_normal((n, 8)).astype(np.float32),
    }


def write(path: Path, arrays: Arrays, **more: NDArray[Any]) -> Path:
    np.savez(path, **arrays, **more)
    return path


def classified(folder: Path, model: bytes, n: int = 700) -> dict[str, Path]:
    """A calibration file of 100 rows and a test file of `n` whose labels are the model's own answers."""
    test = xs(n, seed=1)
    labels = answers(model, test)["logits"].argmax(axis=1)
    return {
        "calibration": write(folder / "calibration.npz", xs(100)),
        "test": write(folder / "test.npz", test, labels=labels),
    }


def priced(folder: Path, n: int = 400) -> dict[str, Path]:
    """The same for `two_inputs`, with targets that it misses by a little."""
    test = prices(n, seed=1)
    noise = np.random.default_rng(2).standard_normal((n, 1)) * 0.1
    targets = answers(two_inputs(), test)["price"] + noise
    return {
        "calibration": write(folder / "calibration.npz", prices(100)),
        "test": write(folder / "test.npz", test, targets=targets),
    }
