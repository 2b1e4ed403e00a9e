"""Float16: half the file, inputs and outputs in float32, and what it cannot hold stays in float32."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import fp16 as module
from models.compress.checks import NotApplied
from models.compress.fp16 import LARGEST, Fp16, fp16
from models.compress.technique import Material
from tests.unit.models.compress.conftest import Real, load
from tests.unit.runtime import graphs

NOTHING = Material()


def chain(factor: float = 1.0) -> bytes:
    """y = (x @ w0 * factor) @ w1 / factor, each [64, 64]."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array((rng.standard_normal((64, 64)) / 8).astype(np.float32), f"w{i}") for i in (0, 1)]
    weights.append(numpy_helper.from_array(np.array(factor, dtype=np.float32), "factor"))
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("Mul", ["a", "factor"], ["b"], name="times"),
        helper.make_node("MatMul", ["b", "w1"], ["c"], name="second"),
        helper.make_node("Div", ["c", "factor"], ["y"], name="by"),
    ]
    ends = graphs.value("x", TensorProto.FLOAT, ["N", 64]), graphs.value("y", TensorProto.FLOAT, ["N", 64])
    return graphs.model(nodes, ends[:1], ends[1:], weights)


ROWS = {"x": np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)}


def types(model: bytes) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load_from_string(model).graph.initializer}


def relative(before: bytes, after: bytes) -> float:
    answers = [load(model).run(ROWS)["y"] for model in (before, after)]
    return float(np.abs(answers[0] - answers[1]).max() / np.abs(answers[0]).max())


def test_real_graphs_are_halved_and_answer_nearly_as_before(real: Real) -> None:
    after = fp16(real.onnx, Fp16(), Material(real.calibration))
    assert len(after) < 0.52 * len(real.onnx)
    assert 0 < real.error(after) < 2e-3
    assert real.agreement(after) >= 0.99
    assert real.sensitivity(after) <= 1e-3


def test_inputs_and_outputs_keep_their_types(real: Real) -> None:
    before, after = load(real.onnx), load(fp16(real.onnx, Fp16(), NOTHING))
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)


def test_a_weight_beyond_float16_stays_in_float32_with_its_node() -> None:
    """The converter would cut it to 65504 without a word."""
    data = chain(1e6)
    after = fp16(data, Fp16(), NOTHING)
    assert types(after)["factor"] == TensorProto.FLOAT
    assert {types(after)[name] for name in ("w0", "w1")} == {TensorProto.FLOAT16}


def test_negative_control_the_converter_alone_cuts_it() -> None:
    from onnxruntime.transformers import float16  # noqa: PLC0415

    converted = float16.convert_float_to_float16(onnx.load_from_string(chain(1e6)), keep_io_types=True)
    (factor,) = (numpy_helper.to_array(t) for t in converted.graph.initializer if t.name == "factor")
    assert factor.dtype == np.float16
    assert factor <= LARGEST


def test_activations_beyond_float16_on_the_calibration_set_stay_in_float32() -> None:
    data = chain(60000.0)
    alone, seen = fp16(data, Fp16(), NOTHING), fp16(data, Fp16(), Material(ROWS))
    assert types(alone)["w1"] == TensorProto.FLOAT16
    assert types(seen) == {
        "w0": TensorProto.FLOAT16,
        "w1": TensorProto.FLOAT,
        "factor": TensorProto.FLOAT,
    }
    assert relative(data, seen) < 2e-3


def test_neighbours_in_float32_do_not_pass_through_float16() -> None:
    """What the converter does by itself, and why the calibration set alone would not help."""
    data = chain(60000.0)
    after = onnx.load_from_string(fp16(data, Fp16(exclude_nodes=("times", "second", "by")), NOTHING))
    casts = [(node.input[0], node.output[0]) for node in after.graph.node if node.op_type == "Cast"]
    assert len(casts) == 2  # of the rows before the first product, and of what it gives
    assert relative(data, after.SerializeToString()) < 2e-3


def test_negative_control_the_converter_alone_overflows_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_join", lambda graph: None)
    with pytest.raises(NotApplied, match="numbers that are not finite on the calibration set"):
        fp16(chain(60000.0), Fp16(), Material(ROWS))


def test_chosen_nodes_and_types_stay_in_float32() -> None:
    after = fp16(chain(), Fp16(exclude_nodes=("second",)), NOTHING)
    assert (types(after)["w0"], types(after)["w1"]) == (TensorProto.FLOAT16, TensorProto.FLOAT)
    with pytest.raises(NotApplied, match="fp16 left no weight in float16"):
        fp16(chain(), Fp16(block_op_types=("MatMul", "Mul", "Div")), NOTHING)


def test_a_node_to_exclude_must_exist() -> None:
    with pytest.raises(NotApplied, match="fp16 is to leave 'nodde' alone, and the graph has no node of that name"):
        fp16(chain(), Fp16(exclude_nodes=("nodde",)), NOTHING)


def test_a_graph_without_weights_is_refused() -> None:
    with pytest.raises(NotApplied, match="fp16 left no weight in float16"):
        fp16(graphs.identity(), Fp16(), NOTHING)


def test_answers_that_are_no_longer_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data, real = chain(), module._answers
    seen: list[bytes] = []

    def spoilt(model: bytes, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        seen.append(model)
        answers = dict(real(model, rows))
        return answers if len(seen) < 3 else {name: array * np.inf for name, array in answers.items()}

    monkeypatch.setattr(module, "_answers", spoilt)
    with pytest.raises(NotApplied, match="fp16 gave output 'y' numbers that are not finite on the calibration set"):
        fp16(data, Fp16(), Material(ROWS))


@pytest.mark.parametrize("rows", [2, 80])
def test_a_model_of_fixed_rows_is_looked_at_with_as_many(rows: int) -> None:
    proto = onnx.load_from_string(chain(60000.0))
    for end in (*proto.graph.input, *proto.graph.output):
        end.type.tensor_type.shape.dim[0].dim_value = rows
    many = Material({"x": np.resize(ROWS["x"], (160, 64))})
    assert types(fp16(proto.SerializeToString(), Fp16(), many))["w1"] == TensorProto.FLOAT


def test_infinite_weights_are_no_reason_to_stay() -> None:
    """Masks hold minus infinity, which float16 has too."""
    weights = [numpy_helper.from_array(np.full((64, 64), -np.inf, dtype=np.float32), "mask")]
    ends = graphs.value("x", TensorProto.FLOAT, ["N", 64]), graphs.value("y", TensorProto.FLOAT, ["N", 64])
    nodes = [helper.make_node("Add", ["x", "mask"], ["a"]), helper.make_node("Softmax", ["a"], ["y"])]
    assert types(fp16(graphs.model(nodes, ends[:1], ends[1:], weights), Fp16(), NOTHING)) == {
        "mask": TensorProto.FLOAT16
    }


def test_equal_models_give_equal_bytes(block: Real) -> None:
    material = Material(block.calibration)
    assert fp16(block.onnx, Fp16(), material) == fp16(block.onnx, Fp16(), material)
