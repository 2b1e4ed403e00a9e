"""Batch sensitivity on graphs that are known to mix rows, and on one that is known not to."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.evaluate.sensitivity import batch_sensitivity
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

ROWS = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)


def runner(model: bytes) -> OnnxRunner:
    return OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))


def scaled_by_the_whole_tensor() -> bytes:
    """Each row rounded on a scale taken over the batch: what dynamic quantisation does."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    return graphs.model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], [value("y", TensorProto.FLOAT, ["N", 4])])


def softmax_over_rows() -> bytes:
    return graphs.model(
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [value("y", TensorProto.FLOAT, ["N", 4])],
    )


def reversed_rows() -> bytes:
    """Nothing but the position of a row decides which row answers."""
    constants = [
        numpy_helper.from_array(np.array(n, dtype=np.int64), name)
        for name, n in (("start", [-1]), ("end", [-(2**31)]), ("axis", [0]), ("step", [-1]))
    ]
    return graphs.model(
        [helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 4])],
        [value("y", TensorProto.FLOAT, ["N", 4])],
        constants,
    )


def test_independent_rows_do_not_move() -> None:
    assert batch_sensitivity(runner(graphs.identity()), {"x": ROWS}) == 0.0


def test_a_network_moves_by_no_more_than_rounding() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
    assert batch_sensitivity(runner(graphs.linear()), {"x": rows}) < 1e-5


@pytest.mark.parametrize("model", [scaled_by_the_whole_tensor(), softmax_over_rows(), reversed_rows()])
def test_rows_that_depend_on_their_mates_are_found(model: bytes) -> None:
    assert batch_sensitivity(runner(model), {"x": ROWS}) > 1e-3


def test_the_outlier_shows_what_equal_rows_hide() -> None:
    """Rows of one size share a scale, so only a mate 20 times as large tells."""
    rows = np.resize(np.array([1.0, 0.5, 0.25, 0.0], dtype=np.float32), (8, 4))
    rows[:, 1] += np.linspace(0, 0.2, 8, dtype=np.float32)
    assert batch_sensitivity(runner(scaled_by_the_whole_tensor()), {"x": rows}) > 0.02


def test_integers_are_compared_without_an_outlier() -> None:
    rows = np.arange(16, dtype=np.int64).reshape(4, 4)
    assert batch_sensitivity(runner(graphs.identity(TensorProto.INT64)), {"x": rows}) == 0.0


def test_text_counts_as_moved_or_not() -> None:
    rows = np.array([[f"{i}{j}".encode() for j in range(4)] for i in range(4)], dtype=object)
    assert batch_sensitivity(runner(graphs.identity(TensorProto.STRING)), {"x": rows}) == 0.0


def test_zero_outputs_do_not_divide() -> None:
    assert batch_sensitivity(runner(graphs.identity()), {"x": np.zeros((4, 4), dtype=np.float32)}) == 0.0
