"""Static int8: the graph changes as it should, the answers stay close, and doing nothing is an error."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from models.compress.checks import NotApplied, op_counts
from models.compress.int8_static import Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from models.evaluate.sensitivity import batch_sensitivity
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
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
