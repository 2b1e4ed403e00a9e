"""Batch sensitivity on graphs that are known to mix rows, and on one that is known not to."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.evaluate.sensitivity import _extreme_tokens, _with_outlier, batch_sensitivity
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


def tokens_on_one_scale() -> bytes:
    """Embeddings summed over a text, then rounded on a scale of the whole batch; token 9 is by far the largest."""
    table = np.linspace(0.1, 0.2, 10, dtype=np.float32)[:, np.newaxis].repeat(4, axis=1)
    table[9] = 5.0
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axis"], ["s"], keepdims=0),
        helper.make_node("DynamicQuantizeLinear", ["s"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axis")]
    ends = [value("x", TensorProto.INT64, ["N", 6]), value("y", TensorProto.FLOAT, ["N", 4])]
    return graphs.model(nodes, ends[:1], ends[1:], constants)


def test_a_text_of_one_token_shows_what_usual_texts_hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text has token 9 once, so that all of them share a scale; one that is nothing but 9 does not."""
    rows = np.resize(np.arange(9, dtype=np.int64), (16, 6))
    rows[:, 0] = 9
    found = batch_sensitivity(runner(tokens_on_one_scale()), {"x": rows})
    assert found > 5e-3
    monkeypatch.setattr("models.evaluate.sensitivity._extreme_tokens", lambda _: ({},))
    assert batch_sensitivity(runner(tokens_on_one_scale()), {"x": rows}) < found / 2


def test_a_mask_is_no_token_and_is_left_alone() -> None:
    ids, mask = np.arange(12, dtype=np.int64).reshape(3, 4), np.ones((3, 4), np.int64)
    extremes = _extreme_tokens({"ids": ids, "mask": mask, "floats": ids.astype(np.float32)})
    assert extremes == ({"ids": 0}, {"ids": 11})
    spoilt = _with_outlier({"ids": ids, "mask": mask}, 1, extremes[1])
    assert spoilt["ids"].tolist() == [[0, 1, 2, 3], [11] * 4, [8, 9, 10, 11]]
    assert (spoilt["mask"] == mask).all()
    assert ids[1, 0] == 4  # the samples themselves are not touched


def test_integers_are_compared_with_no_number_that_does_not_occur() -> None:
    rows = np.arange(16, dtype=np.int64).reshape(4, 4)
    assert batch_sensitivity(runner(graphs.identity(TensorProto.INT64)), {"x": rows}) == 0.0


def test_text_counts_as_moved_or_not() -> None:
    rows = np.array([[f"{i}{j}".encode() for j in range(4)] for i in range(4)], dtype=object)
    assert batch_sensitivity(runner(graphs.identity(TensorProto.STRING)), {"x": rows}) == 0.0


def test_zero_outputs_do_not_divide() -> None:
    assert batch_sensitivity(runner(graphs.identity()), {"x": np.zeros((4, 4), dtype=np.float32)}) == 0.0


def overflowing_company(masked: bool) -> bytes:
    """Rows in half precision times the batch's largest: beside an outlier everybody is NaN, and alone nobody is."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("ReduceMax", ["a"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "much"], ["large"]),
        helper.make_node("Cast", ["large"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["wide", "wide"], ["zero"]),
        helper.make_node("Add", ["mask" if masked else "x", "x" if masked else "zero"], ["y"]),
    ]
    mask = np.array([0, 0, 0, -np.inf], dtype=np.float32)
    constants = [numpy_helper.from_array(np.float32(4000), "much"), numpy_helper.from_array(mask, "mask")]
    ends = [value("x", TensorProto.FLOAT, ["N", 4]), value("y", TensorProto.FLOAT, ["N", 4])]
    return graphs.model(nodes, ends[:1], ends[1:], constants)


def test_a_mate_that_makes_everybody_nan_is_found() -> None:
    assert batch_sensitivity(runner(overflowing_company(masked=False)), {"x": ROWS}) == 1.0


def test_an_infinity_that_every_company_gives_moves_nothing() -> None:
    assert batch_sensitivity(runner(overflowing_company(masked=True)), {"x": ROWS}) == 0.0
