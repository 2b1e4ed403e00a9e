"""Dynamic int8: what becomes what, answers that stay close, and a sensitivity to batch-mates that must show."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import int8_dynamic as module
from models.compress.checks import NotApplied, op_counts
from models.compress.int8_dynamic import Int8Dynamic, int8_dynamic
from tests.unit.models.compress.conftest import Real, load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value


def recurrent(width: int = 32) -> bytes:
    """x [5, N, 32] -> y [5, 1, N, 32]."""
    rng = np.random.default_rng(0)
    shapes = {"w": (1, 4 * width, width), "r": (1, 4 * width, width), "b": (1, 8 * width)}
    weights = [
        numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], name="lstm", hidden_size=width)
    ends = value("x", TensorProto.FLOAT, [5, "N", width]), value("y", TensorProto.FLOAT, [5, 1, "N", width])
    return graphs.model([node], ends[:1], ends[1:], weights)


def test_real_graphs_answer_nearly_as_before(real: Real) -> None:
    after = int8_dynamic(real.onnx, Int8Dynamic())
    assert 0 < real.error(after) < 0.03
    assert real.agreement(after) >= 0.9


def test_every_linear_layer_of_a_real_graph_is_quantised(real: Real) -> None:
    before, after = op_counts(real.onnx), op_counts(int8_dynamic(real.onnx, Int8Dynamic()))
    # Of the block's seven products two are of computed operands.
    wanted = before["Gemm"] + before.get("MatMul", 0) - (2 if real.name == "block" else 0)
    assert after["MatMulInteger"] == wanted
    assert after["DynamicQuantizeLinear"] == wanted
    assert "Gemm" not in after
    assert after.get("Conv", 0) == before.get("Conv", 0)


def test_a_row_depends_on_its_batch_mates(mlp: Real, digits_net: Real) -> None:
    """The reason for `int8_per_row`, and its negative control."""
    for real in (mlp, digits_net):
        assert real.sensitivity(int8_dynamic(real.onnx, Int8Dynamic())) > 1e-3


def test_embedding_tables_are_quantised_too(block: Real) -> None:
    with_tables = int8_dynamic(block.onnx, Int8Dynamic())
    without = int8_dynamic(block.onnx, Int8Dynamic(op_types=("Gemm", "MatMul")))
    assert op_counts(with_tables)["DequantizeLinear"] == 1
    assert "DequantizeLinear" not in op_counts(without)
    assert len(with_tables) < len(without) < len(block.onnx)


def test_recurrent_layers_are_quantised() -> None:
    after = int8_dynamic(recurrent(), Int8Dynamic())
    assert op_counts(after) == {"DynamicQuantizeLSTM": 1}
    rows = {"x": np.random.default_rng(1).standard_normal((5, 3, 32)).astype(np.float32)}
    before, now = (load(model).run(rows)["y"] for model in (recurrent(), after))
    assert 0 < np.abs(before - now).max() < 0.05


def test_a_graph_straight_from_the_exporter_is_taken(block_as_exported: bytes) -> None:
    """What torch tells of a turned weight's shape makes quantize_dynamic fail."""
    assert op_counts(int8_dynamic(block_as_exported, Int8Dynamic()))["MatMulInteger"] == 5


def test_weights_are_signed_bytes_with_one_scale_a_column(mlp: Real) -> None:
    for per_channel, longest in ((True, 256), (False, 1)):
        graph = onnx.load_from_string(int8_dynamic(mlp.onnx, Int8Dynamic(per_channel=per_channel))).graph
        weights = [tensor for tensor in graph.initializer if len(tensor.dims) == 2]
        assert {tensor.data_type for tensor in weights} == {TensorProto.INT8}
        scales = [tensor for tensor in graph.initializer if tensor.name.endswith("_scale")]
        assert max(int(np.prod(tensor.dims)) for tensor in scales) == longest


def test_a_reduced_range_uses_seven_bits(mlp: Real) -> None:
    for reduce_range, largest in ((True, 64), (False, 127)):
        graph = onnx.load_from_string(int8_dynamic(mlp.onnx, Int8Dynamic(reduce_range=reduce_range))).graph
        weights = [numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 2]
        assert max(int(np.abs(array.astype(int)).max()) for array in weights) == largest


def test_excluded_layers_stay_in_float32(mlp: Real) -> None:
    first = next(node.name for node in onnx.load_from_string(mlp.onnx).graph.node if node.op_type == "Gemm")
    counts = op_counts(int8_dynamic(mlp.onnx, Int8Dynamic(exclude_nodes=(first,))))
    assert (counts["MatMul"], counts["MatMulInteger"]) == (1, 2)  # quantize_dynamic turns every Gemm itself


def test_convolutions_are_never_quantised() -> None:
    with pytest.raises(NotApplied, match="quantises Gemm, MatMul, Attention, LSTM, Gather and not Conv"):
        int8_dynamic(convolutional(), Int8Dynamic(op_types=("Conv",)))


def test_a_graph_without_anything_to_quantise_is_refused() -> None:
    with pytest.raises(NotApplied, match=r"int8_dynamic finds no Gemm, MatMul, .* with a constant float32 weight"):
        int8_dynamic(graphs.identity(), Int8Dynamic())


def test_a_step_that_silently_skips_a_layer_is_refused(mlp: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.quantize_dynamic

    def skips_one(model: object, path: object, **arguments: list[str]) -> None:
        real(model, path, **{**arguments, "nodes_to_quantize": arguments["nodes_to_quantize"][1:]})

    monkeypatch.setattr(module, "quantize_dynamic", skips_one)
    with pytest.raises(NotApplied, match="int8_dynamic made 2 MatMulInteger of 3 MatMul"):
        int8_dynamic(mlp.onnx, Int8Dynamic())


def test_a_file_that_grows_is_refused() -> None:
    with pytest.raises(NotApplied, match="int8_dynamic made the file larger"):
        int8_dynamic(graphs.linear(rows=2, columns=1), Int8Dynamic())


def test_equal_models_give_equal_bytes(mlp: Real) -> None:
    assert int8_dynamic(mlp.onnx, Int8Dynamic()) == int8_dynamic(mlp.onnx, Int8Dynamic())
