"""Static int8: the graph changes as it should, the answers stay close, and doing nothing is an error."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress.checks import NotApplied, op_counts
from models.compress.int8_static import TENSORRT, Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material, arguments_of
from models.evaluate.sensitivity import batch_sensitivity
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.models.compress.conftest import Real
from tests.unit.models.compress.networks import convolutional, images
from tests.unit.runtime import graphs

CALIBRATION = Material(images())


def runner(model: bytes) -> OnnxRunner:
    return OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))


@pytest.fixture(scope="module")
def full() -> bytes:
    return preprocess(convolutional(), Preprocess())


@pytest.fixture(scope="module")
def quantised(full: bytes) -> bytes:
    return int8_static(full, Int8Static(), CALIBRATION)


def test_weights_are_signed_bytes_and_activations_unsigned(quantised: bytes) -> None:
    graph = onnx.load_from_string(quantised).graph
    of_name = {w.name: w for w in graph.initializer}
    large = [w for w in graph.initializer if np.prod(w.dims) >= 64]
    assert large
    assert {w.data_type for w in large} == {onnx.TensorProto.INT8}
    zero_points = {of_name[n.input[2]].data_type for n in graph.node if n.op_type == "QuantizeLinear"}
    assert zero_points == {onnx.TensorProto.UINT8}


def test_scales_are_per_channel(full: bytes, quantised: bytes) -> None:
    def longest_scale(model: bytes) -> int:
        graph = onnx.load_from_string(model).graph
        of_name = {w.name: w for w in graph.initializer}
        return max(int(np.prod(of_name[n.input[1]].dims)) for n in graph.node if n.op_type == "DequantizeLinear")

    assert longest_scale(quantised) == 16
    assert longest_scale(int8_static(full, Int8Static(per_channel=False), CALIBRATION)) == 1


def test_the_file_is_smaller_and_the_signature_the_same(full: bytes, quantised: bytes) -> None:
    assert len(quantised) < len(full)
    before, after = runner(full), runner(quantised)
    assert (before.inputs, before.outputs) == (after.inputs, after.outputs)


def test_answers_stay_close_and_rows_independent(full: bytes, quantised: bytes) -> None:
    expected, found = (runner(model).run(images())["logits"] for model in (full, quantised))
    assert 0 < np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    assert batch_sensitivity(runner(quantised), images()) <= 1e-3


def test_equal_arguments_give_equal_bytes(full: bytes, quantised: bytes) -> None:
    assert int8_static(full, Int8Static(), CALIBRATION) == quantised
    assert int8_static(full, Int8Static(calibration_rows=5), CALIBRATION) == quantised


def test_the_calibration_set_decides_the_scales(full: bytes, quantised: bytes) -> None:
    wider = {name: array * 3 for name, array in images().items()}
    assert int8_static(full, Int8Static(), Material(wider)) != quantised


@pytest.mark.parametrize("calibrator", ["Entropy", "Percentile"])
def test_other_calibrators_work(full: bytes, calibrator: str) -> None:
    assert op_counts(int8_static(full, Int8Static(calibrator=calibrator), CALIBRATION))["QuantizeLinear"] > 0


def test_excluded_nodes_stay_as_they_are(full: bytes) -> None:
    model = onnx.load_from_string(full)
    for at, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{at}"
    excluded = Int8Static(exclude_nodes=("Conv_0",))
    kept = onnx.load_from_string(int8_static(model.SerializeToString(), excluded, CALIBRATION))
    types = {weight.name: weight.data_type for weight in kept.graph.initializer}
    assert types["kernel"] == onnx.TensorProto.FLOAT
    assert "w" not in types


def test_a_graph_without_anything_to_quantise_is_refused() -> None:
    with pytest.raises(NotApplied, match="finds no Conv, Gemm, MatMul to quantise"):
        int8_static(graphs.identity(), Int8Static(), Material({"x": np.zeros((4, 4), dtype=np.float32)}))


def test_a_step_that_silently_does_nothing_is_refused(full: bytes) -> None:
    everything = tuple(node.name for node in onnx.load_from_string(full).graph.node)
    with pytest.raises(NotApplied, match="put no QuantizeLinear"):
        int8_static(full, replace(Int8Static(), op_types=("Conv",), exclude_nodes=everything), CALIBRATION)


def test_a_file_that_grows_is_refused() -> None:
    """Two weights are not worth their scales."""
    tiny = preprocess(graphs.linear(rows=2, columns=1), Preprocess())
    with pytest.raises(NotApplied, match="made the file larger"):
        int8_static(tiny, Int8Static(), Material({"x": np.ones((4, 2), dtype=np.float32)}))


def opset(model: bytes, version: int) -> bytes:
    proto = onnx.load_from_string(model)
    proto.opset_import[0].version = version
    return proto.SerializeToString()


def test_one_scale_a_channel_wants_an_opset_that_can_say_so(full: bytes) -> None:
    with pytest.raises(NotApplied, match="needs opset 13 or newer, and the model has 12"):
        int8_static(opset(full, 12), Int8Static(), CALIBRATION)
    assert op_counts(int8_static(opset(full, 12), Int8Static(per_channel=False), CALIBRATION))["QuantizeLinear"]


def two_products(second: str, bias: tuple[int, ...] = (64,)) -> bytes:
    """y = relu(x @ w) and then x @ w again, or x @ w.T; with a bias of this shape."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array((rng.standard_normal((64, 64)) / 8).astype(np.float32), "w")]
    weights.append(numpy_helper.from_array(rng.standard_normal(bias).astype(np.float32), "bias"))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w", "bias"], ["y"], name="second", transB=int(second == "turned")),
    ]
    ends = [graphs.value(name, TensorProto.FLOAT, ["N", 64]) for name in ("x", "y")]
    return graphs.model(nodes, ends[:1], ends[1:], weights)


FEED = {"x": np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)}


def error(full: bytes, quantised: bytes) -> float:
    expected, found = (runner(model).run(FEED)["y"] for model in (full, quantised))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_a_weight_that_is_read_along_both_axes_has_no_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    model, material = two_products("turned"), Material(FEED)
    with pytest.raises(NotApplied, match="'w' one scale a channel: nodes read it along different axes"):
        int8_static(model, Int8Static(), material)
    for arguments in (Int8Static(per_channel=False), Int8Static(exclude_nodes=("second",))):
        assert error(model, int8_static(model, arguments, material)) < 0.05
    assert error(two_products("as it is"), int8_static(two_products("as it is"), Int8Static(), material)) < 0.05
    # Negative control: what ONNX Runtime makes of both axes answers wrongly.
    monkeypatch.setattr("models.compress.int8_static._refuse_both_axes", lambda *_: None)
    assert error(model, int8_static(model, Int8Static(), material)) > 0.1


def test_a_bias_of_one_row_is_quantised_as_any() -> None:
    model = two_products("as it is", (1, 64))
    assert error(model, int8_static(model, Int8Static(), Material(FEED))) < 0.05


def quantised_linear(model: bytes) -> list[onnx.NodeProto]:
    return [n for n in onnx.load_from_string(model).graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]


def test_arguments_of_before_are_told_as_before() -> None:
    """A published card has these and no others."""
    before = ["calibrator", "per_channel", "reduce_range", "activations", "weights", "op_types", "exclude_nodes"]
    assert list(arguments_of(Int8Static())) == [*before, "calibration_rows"]
    later = {"activations": "QInt8", "symmetric_activations": True, "quantise_bias": False}
    assert {**arguments_of(Int8Static()), **later} == arguments_of(TENSORRT)


def test_real_graphs_answer_nearly_as_before(real: Real) -> None:
    after = int8_static(real.onnx, Int8Static(), Material(real.calibration))
    assert 0 < real.error(after) < 0.06
    assert real.agreement(after) >= 0.9
    assert real.sensitivity(after) <= 1e-3


def test_the_form_for_tensorrt_is_signed_and_symmetric_with_float_biases(real: Real) -> None:
    after = int8_static(real.onnx, TENSORRT, Material(real.calibration))
    assert 0 < real.error(after) < 0.1
    assert real.agreement(after) >= 0.9
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(after).graph.initializer}
    points = [values[node.input[2]] for node in quantised_linear(after)]
    assert {str(point.dtype) for point in points} == {"int8"}
    assert not any(point.any() for point in points)
    assert "int32" not in {str(array.dtype) for array in values.values()}


def test_negative_control_the_form_for_cpus_has_other_zero_points_and_whole_biases(
    full: bytes, quantised: bytes
) -> None:
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(quantised).graph.initializer}
    assert any(values[node.input[2]].any() for node in quantised_linear(quantised))
    assert "int32" in {str(array.dtype) for array in values.values()}


def test_a_zero_point_that_is_left_is_refused(full: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.compress.int8_static._options", lambda _: {})
    with pytest.raises(NotApplied, match=r"left node '.*' a zero point other than 0"):
        int8_static(full, TENSORRT, Material({"image": images()["image"] + 1}))


def test_a_reduced_range_uses_seven_bits(full: bytes) -> None:
    for reduce_range, most in ((False, 127), (True, 64)):
        after = int8_static(full, Int8Static(reduce_range=reduce_range), CALIBRATION)
        weights = [
            t for t in onnx.load_from_string(after).graph.initializer if t.data_type == TensorProto.INT8 and t.dims
        ]
        assert max(int(np.abs(numpy_helper.to_array(t).astype(int)).max()) for t in weights) == most


def with_an_outlier(n: int) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    rows = images(n)
    rows["image"][0, 0, 0, 0] = 1000
    return rows


def test_percentiles_leave_outliers_out(full: bytes) -> None:
    answers = {}
    for calibrator, percentile in (("MinMax", 99.999), ("Percentile", 99.0)):
        arguments = Int8Static(calibrator=calibrator, percentile=percentile)
        quantised = int8_static(full, arguments, Material(with_an_outlier(32)))
        expected, found = (runner(model).run(images())["logits"] for model in (full, quantised))
        answers[calibrator] = float(np.abs(expected - found).max())
    assert answers["Percentile"] < 0.5 * answers["MinMax"]


def test_calibrators_that_hold_every_activation_look_at_some_rows_only(full: bytes) -> None:
    def made(rows: dict[str, np.ndarray], histogram_rows: int) -> bytes:  # type: ignore[type-arg]
        arguments = Int8Static(calibrator="Percentile", histogram_rows=histogram_rows, calibration_rows=10)
        return int8_static(full, arguments, Material(rows))

    many = images(65)
    some = {"image": many["image"][np.linspace(0, 64, 20).astype(int)]}
    assert made(many, 20) == made(some, 20) == made(some, 500)
    assert made(many, 60) != made(many, 20)


@pytest.mark.parametrize("rows", [7, 10, 25])
def test_a_last_batch_that_is_not_full_is_no_obstacle(
    full: bytes, rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for calibrator in ("Percentile", "Entropy"):
        arguments = Int8Static(calibrator=calibrator, calibration_rows=10)
        assert op_counts(int8_static(full, arguments, Material(images(rows))))["QuantizeLinear"] > 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Int8Static(calibrator="Entropie"), "takes MinMax, Entropy, Percentile for calibrator, not 'Entropie'"),
        (Int8Static(activations="QInt16"), "takes QUInt8, QInt8 for activations, not 'QInt16'"),
        (Int8Static(weights="int8"), "takes QUInt8, QInt8 for weights, not 'int8'"),
        (Int8Static(symmetric_activations=True), "symmetric around 0 only where their type is QInt8"),
        (Int8Static(exclude_nodes=("nodde",)), "is to leave 'nodde' alone, and the graph has no node of that name"),
    ],
)
def test_what_is_no_argument_is_refused(full: bytes, wrong: Int8Static, message: str) -> None:
    with pytest.raises(NotApplied, match=message):
        int8_static(full, wrong, CALIBRATION)
