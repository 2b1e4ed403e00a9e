"""Gemm as MatMul and Add: equal answers for every attribute, and nothing of Gemm left."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import graph as graphs
from models.compress.checks import op_counts
from models.compress.gemm_to_matmul import gemm_to_matmul
from tests.unit.models.compress.conftest import Real, load
from tests.unit.runtime.graphs import model, value

ROWS = {"x": np.random.default_rng(2).standard_normal((5, 5)).astype(np.float32)}
BIASES = {"none": None, "row": (3,), "scalar": (), "column": (5, 1), "whole": (5, 3)}


def gemm(bias: tuple[int, ...] | None = (3,), computed_bias: bool = False, **attributes: float) -> bytes:
    """x [5, 5] -> y [5, 3]."""
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((3, 5) if attributes.get("transB") else (5, 3)).astype(np.float32)
    weights = [numpy_helper.from_array(weight, "w")]
    names = ["x", "w"]
    if bias is not None:
        weights.append(numpy_helper.from_array(rng.standard_normal(bias).astype(np.float32), "b"))
        names.append("absolute" if computed_bias else "b")
    nodes = [helper.make_node("Abs", ["b"], ["absolute"])] if computed_bias else []
    nodes.append(helper.make_node("Gemm", names, ["y"], name="layer", **attributes))
    return model(nodes, [value("x", TensorProto.FLOAT, [5, 5])], [value("y", TensorProto.FLOAT, [5, 3])], weights)


def rewritten(data: bytes) -> bytes:
    proto = graphs.read(data, "a step")
    gemm_to_matmul(proto, graphs.weighted(proto, graphs.LINEAR, "a step"))
    result = graphs.write(proto)
    onnx.checker.check_model(onnx.load_from_string(result), full_check=True)
    return result


def assert_equal_answers(data: bytes) -> None:
    before, after = (load(one).run(ROWS)["y"] for one in (data, rewritten(data)))
    assert np.abs(before).max() > 0.5
    assert np.allclose(before, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("turn_rows", "turn_weight", "alpha", "beta"), list(itertools.product((0, 1), (0, 1), (1.0, -0.5), (1.0, 3.0)))
)
def test_every_attribute_gives_equal_answers(turn_rows: int, turn_weight: int, alpha: float, beta: float) -> None:
    data = gemm(transA=turn_rows, transB=turn_weight, alpha=alpha, beta=beta)
    assert_equal_answers(data)
    counts = op_counts(rewritten(data))
    assert counts.get("Gemm") is None
    assert (counts["MatMul"], counts["Add"]) == (1, 1)
    assert (counts.get("Transpose", 0), counts.get("Mul", 0)) == (turn_rows, int(beta != 1))


@pytest.mark.parametrize("bias", BIASES)
def test_every_form_of_bias_gives_equal_answers(bias: str) -> None:
    assert_equal_answers(gemm(BIASES[bias], beta=2.0))


def test_a_computed_bias_is_scaled_as_it_is_computed() -> None:
    assert_equal_answers(gemm(computed_bias=True, beta=0.5))


def test_negative_control_a_lost_attribute_changes_answers() -> None:
    halved = onnx.load_from_string(rewritten(gemm(alpha=0.5)))
    whole = onnx.load_from_string(rewritten(gemm()))
    answers = [load(one.SerializeToString()).run(ROWS)["y"] for one in (halved, whole)]
    assert not np.allclose(*answers, atol=1e-2)


def test_the_product_keeps_the_name_of_the_node() -> None:
    """So that a recipe excludes the same names before and after."""
    nodes = {node.op_type: node.name for node in onnx.load_from_string(rewritten(gemm())).graph.node}
    assert nodes == {"MatMul": "layer", "Add": "layer_bias"}


def test_two_layers_that_turn_the_same_rows_do_not_clash() -> None:
    model_ = onnx.load_from_string(gemm(transA=1))
    twin = onnx.NodeProto.FromString(model_.graph.node[0].SerializeToString())
    twin.name, twin.output[0] = "twin", "z"
    model_.graph.node.append(twin)
    model_.graph.output.append(value("z", TensorProto.FLOAT, [5, 3]))
    for name in ("w", "b"):
        copy = onnx.TensorProto.FromString(
            next(t for t in model_.graph.initializer if t.name == name).SerializeToString()
        )
        copy.name = f"{name}_of_twin"
        model_.graph.initializer.append(copy)
    twin = model_.graph.node[1]
    twin.input[1], twin.input[2] = "w_of_twin", "b_of_twin"
    answers = load(rewritten(model_.SerializeToString())).run(ROWS)
    assert np.array_equal(answers["y"], answers["z"])


def test_without_a_bias_only_the_product_is_left() -> None:
    assert op_counts(rewritten(gemm(None))) == {"MatMul": 1}


def test_a_turned_weight_replaces_the_one_before() -> None:
    graph = onnx.load_from_string(rewritten(gemm(transB=1))).graph
    assert {tensor.name: tuple(tensor.dims) for tensor in graph.initializer} == {"w_kn": (5, 3), "b": (3,)}


def test_real_graphs_answer_as_before(real: Real) -> None:
    after = rewritten(real.onnx)
    assert op_counts(real.onnx)["Gemm"] > 0
    assert "Gemm" not in op_counts(after)
    assert real.error(after) < 1e-5
