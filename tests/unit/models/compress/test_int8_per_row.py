"""Dynamic int8 with a scale a row: as close as dynamic int8, and a row's answer is the same in any company."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import int8_per_row as module
from models.compress.checks import NotApplied, op_counts
from models.compress.int8_dynamic import Int8Dynamic, int8_dynamic
from models.compress.int8_per_row import Int8PerRow, int8_per_row
from tests.unit.models.compress.conftest import Real, load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

BATCH_INVARIANT = 1e-3


def test_real_graphs_answer_nearly_as_before(real: Real) -> None:
    after = int8_per_row(real.onnx, Int8PerRow())
    assert 0 < real.error(after) < 0.03
    assert real.agreement(after) >= 0.9
    assert len(after) < len(real.onnx)


def test_rows_do_not_depend_on_their_batch_mates(real: Real) -> None:
    """Far within the rule; what is left is the order of float32 sums around it."""
    assert real.sensitivity(int8_per_row(real.onnx, Int8PerRow())) < BATCH_INVARIANT / 100


def test_negative_control_one_scale_a_tensor_breaks_the_rule(real: Real) -> None:
    assert real.sensitivity(int8_dynamic(real.onnx, Int8Dynamic())) > BATCH_INVARIANT


def test_every_linear_layer_is_quantised_and_nothing_else(real: Real) -> None:
    before, after = op_counts(real.onnx), op_counts(int8_per_row(real.onnx, Int8PerRow()))
    computed = 2 if real.name == "block" else 0
    assert after["MatMulInteger"] == before["Gemm"] + before.get("MatMul", 0) - computed
    assert after.get("Conv", 0) == before.get("Conv", 0)


def test_only_operators_of_the_standard_are_used(mlp: Real) -> None:
    model = onnx.load_from_string(int8_per_row(mlp.onnx, Int8PerRow()))
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_every_opset_from_the_least_works(opset: int) -> None:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), "w")
    ends = value("x", TensorProto.FLOAT, ["N", 64]), value("y", TensorProto.FLOAT, ["N", 64])
    data = graphs.model([helper.make_node("MatMul", ["x", "w"], ["y"])], ends[:1], ends[1:], [weight], opset=opset)
    rows = {"x": np.random.default_rng(1).standard_normal((7, 64)).astype(np.float32)}
    before, after = (load(model).run(rows)["y"] for model in (data, int8_per_row(data, Int8PerRow())))
    assert np.linalg.norm(before - after) < 0.02 * np.linalg.norm(before)


def test_rows_of_zeros_and_of_any_magnitude_are_answered() -> None:
    data = graphs.linear(64, 64)
    quantised = load(int8_per_row(data, Int8PerRow()))
    row = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    rows = np.stack([0 * row, row, 1e-20 * row, 1e20 * row])
    answers = quantised.run({"x": rows})["y"]
    assert not answers[0].any()
    for at, factor in ((2, 1e-20), (3, 1e20)):
        assert np.allclose(answers[at] / factor, answers[1], rtol=0.02, atol=0.05)


def test_a_row_that_is_not_finite_spoils_itself_only() -> None:
    quantised = load(int8_per_row(graphs.linear(64, 64), Int8PerRow()))
    rows = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    alone = quantised.run({"x": rows[:1]})["y"]
    rows[1, 0], rows[2, 0] = np.nan, np.inf
    assert np.array_equal(quantised.run({"x": rows})["y"][:1], alone)


def test_products_of_the_same_rows_quantise_them_once() -> None:
    weights = [
        numpy_helper.from_array(np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float32), name)
        for seed, name in enumerate("qk")
    ]
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_out"]) for name in "qk"]
    nodes.append(helper.make_node("Add", ["q_out", "k_out"], ["y"]))
    ends = value("x", TensorProto.FLOAT, ["N", 64]), value("y", TensorProto.FLOAT, ["N", 64])
    counts = op_counts(int8_per_row(graphs.model(nodes, ends[:1], ends[1:], weights), Int8PerRow()))
    assert (counts["MatMulInteger"], counts["QuantizeLinear"], counts["ReduceMax"]) == (2, 1, 1)


def test_a_weight_that_two_layers_share_is_kept_once() -> None:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    ends = value("x", TensorProto.FLOAT, ["N", 64]), value("y", TensorProto.FLOAT, ["N", 64])
    data = graphs.model(nodes, ends[:1], ends[1:], [weight])
    after = int8_per_row(data, Int8PerRow())
    assert op_counts(after)["MatMulInteger"] == 2
    assert sum(len(t.dims) == 2 for t in onnx.load_from_string(after).graph.initializer) == 1
    rows = {"x": np.random.default_rng(1).standard_normal((7, 64)).astype(np.float32)}
    before, now = (load(model).run(rows)["y"] for model in (data, after))
    assert np.linalg.norm(before - now) < 0.03 * np.linalg.norm(before)


def test_a_column_of_zeros_stays_zero() -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    weight[:, 3] = 0
    data = graphs.matmul(numpy_helper.from_array(weight, "w"))
    rows = {"x": np.random.default_rng(1).standard_normal((7, 64)).astype(np.float32)}
    answers = load(int8_per_row(data, Int8PerRow())).run(rows)["y"]
    assert np.isfinite(answers).all()
    assert not answers[:, 3].any()


@pytest.mark.parametrize(("reduce_range", "largest"), [(False, 127), (True, 63)])
def test_the_range_of_weights(mlp: Real, reduce_range: bool, largest: int) -> None:
    graph = onnx.load_from_string(int8_per_row(mlp.onnx, Int8PerRow(reduce_range=reduce_range))).graph
    weights = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT8]
    assert len(weights) == 3
    assert {int(np.abs(array.astype(int)).max()) for array in weights} == {largest}


def test_excluded_layers_stay_in_float32(mlp: Real) -> None:
    first = next(node.name for node in onnx.load_from_string(mlp.onnx).graph.node if node.op_type == "Gemm")
    counts = op_counts(int8_per_row(mlp.onnx, Int8PerRow(exclude_nodes=(first,))))
    assert (counts["Gemm"], counts["MatMulInteger"]) == (1, 2)


def test_a_graph_of_convolutions_is_refused() -> None:
    nodes = [node.name for node in onnx.load_from_string(convolutional()).graph.node if node.name]
    assert nodes == []
    with pytest.raises(NotApplied, match="int8_per_row finds no Gemm, MatMul with a constant float32 weight"):
        int8_per_row(convolutional(), Int8PerRow(exclude_nodes=("Gemm_logits",)))


def test_a_step_that_silently_skips_a_layer_is_refused(mlp: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._rewrite
    monkeypatch.setattr(module, "_rewrite", lambda proto, products, steps: real(proto, products[1:], steps))
    with pytest.raises(NotApplied, match="int8_per_row made 2 MatMulInteger of 3 weights"):
        int8_per_row(mlp.onnx, Int8PerRow())


def test_a_file_that_grows_is_refused() -> None:
    with pytest.raises(NotApplied, match="int8_per_row made the file larger"):
        int8_per_row(graphs.linear(rows=2, columns=1), Int8PerRow())


def test_equal_models_give_equal_bytes(block: Real) -> None:
    assert int8_per_row(block.onnx, Int8PerRow()) == int8_per_row(block.onnx, Int8PerRow())
