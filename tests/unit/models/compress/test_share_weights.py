"""Weight sharing: few values, zeros kept, answers near; folded at load in its gather form; and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.compress import share_weights as module
from models.compress.checks import NotApplied, op_counts
from models.compress.clustering import Clustering
from models.compress.deep_file import encode
from models.compress.preprocess import Preprocess, preprocess
from models.compress.prune_magnitude import PruneMagnitude, prune_magnitude
from models.compress.share_weights import ShareWeights, share_weights
from models.data import digits
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

SHIPPED = Path(digits.__file__).parents[1] / "repository" / "digits" / "1" / "model.onnx"
GATHER = ShareWeights(form="gather")


@pytest.fixture(scope="module")
def full() -> bytes:
    return preprocess(SHIPPED.read_bytes(), Preprocess())


def tensors(model: bytes) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(model).graph.initializer}


def weights(model: bytes) -> dict[str, NDArray[np.generic]]:
    """The weights of convolutions and matrix products by name, none of the biases."""
    graph = onnx.load_from_string(model).graph
    names = {node.input[1] for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    return {name: array for name, array in tensors(model).items() if name in names}


def logits(model: bytes) -> NDArray[np.float32]:
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    (output,) = runner.run(digits.parts()["development"].inputs).values()
    runner.close()
    return output


def error(model: bytes, before: bytes) -> float:
    """Relative L2 distance of the answers."""
    expected = logits(before)
    return float(np.linalg.norm(logits(model) - expected) / np.linalg.norm(expected))


def linear(*, weight: NDArray[np.float32], fed: bool = False) -> bytes:
    """y = x W, with W as an input as well where `fed`."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in zip("xy", weight.shape, strict=True)
    ]
    inputs = ends[:1] + ([helper.make_tensor_value_info("w", TensorProto.FLOAT, weight.shape)] if fed else [])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", inputs, ends[1:], [numpy_helper.from_array(weight, "w")])
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


def normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("conv_bits", "linear_bits"), [(8, 5), (4, 2), (6, 0), (0, 6)])
def test_each_tensor_has_few_values(full: bytes, conv_bits: int, linear_bits: int) -> None:
    result = share_weights(full, ShareWeights(conv_bits=conv_bits, linear_bits=linear_bits))
    before = weights(full)
    for name, after in weights(result).items():
        bits = conv_bits if after.ndim == 4 else linear_bits
        if bits:
            assert len(np.unique(after)) <= 1 << bits
            assert len(np.unique(before[name])) > len(np.unique(after))
        else:
            np.testing.assert_array_equal(after, before[name])


def test_biases_stay_unless_asked(full: bytes) -> None:
    def biases(model: bytes) -> dict[str, NDArray[np.generic]]:
        return {name: array for name, array in tensors(model).items() if array.ndim == 1 and array.size >= 64}

    assert len(biases(full)) >= 3
    for name, after in biases(share_weights(full, ShareWeights())).items():
        np.testing.assert_array_equal(after, biases(full)[name])
    for after in biases(share_weights(full, ShareWeights(bias_bits=4))).values():
        assert after.dtype != np.float32 or len(np.unique(after)) <= 16


def test_answers_are_near(full: bytes) -> None:
    fine, coarse = (share_weights(full, ShareWeights(conv_bits=b, linear_bits=b)) for b in (8, 3))
    assert error(fine, full) < 0.01
    assert error(fine, full) < error(coarse, full) < 0.5


def test_pruned_weights_stay_zero_and_no_others_become_it(full: bytes) -> None:
    pruned = prune_magnitude(full, PruneMagnitude(sparsity=0.6, scope="global"))
    result = share_weights(pruned, ShareWeights(conv_bits=5))
    for name, before in weights(pruned).items():
        np.testing.assert_array_equal(weights(result)[name] == 0, before == 0)


def test_coded_it_is_a_fraction(full: bytes) -> None:
    pruned = prune_magnitude(full, PruneMagnitude(sparsity=0.7, scope="global"))
    coded = encode(share_weights(pruned, ShareWeights(conv_bits=6, bias_bits=5)))
    assert len(coded) < len(full) / 12
    assert len(coded) < len(encode(full)) / 10


# The gather form


def test_gather_is_a_quarter_of_the_file_and_answers_the_same(full: bytes) -> None:
    gathered, values = share_weights(full, GATHER), share_weights(full, ShareWeights())
    assert len(gathered) < 0.27 * len(full)
    np.testing.assert_array_equal(logits(gathered), logits(values))


def test_gather_is_written_in_standard_operators(full: bytes) -> None:
    added = {
        name: count - op_counts(full).get(name, 0) for name, count in op_counts(share_weights(full, GATHER)).items()
    }
    assert {name: count for name, count in added.items() if count} == {"Cast": 5, "Gather": 5}
    stored = [array for array in tensors(share_weights(full, GATHER)).values() if array.dtype == np.uint8]
    assert sorted(array.ndim for array in stored) == [2, 2, 4, 4, 4]
    onnx.checker.check_model(onnx.load_from_string(share_weights(full, GATHER)), full_check=True)


def test_gather_is_folded_while_it_loads(full: bytes, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    onnxruntime.InferenceSession(share_weights(full, GATHER), options, providers=["CPUExecutionProvider"])
    folded = (tmp_path / "folded.onnx").read_bytes()
    assert not {"Gather", "Cast"} & op_counts(folded).keys()


@pytest.mark.parametrize("arguments", [ShareWeights(), GATHER])
def test_a_weight_of_two_nodes_is_shared_once(arguments: ShareWeights) -> None:
    proto = onnx.load_from_string(linear(weight=normal(64, 64)))
    proto.graph.node[0].output[0] = "between"
    proto.graph.node.append(helper.make_node("MatMul", ["between", "w"], ["y"]))
    result = share_weights(proto.SerializeToString(), arguments)
    assert op_counts(result)["MatMul"] == 2
    assert op_counts(result).get("Gather", 0) == (arguments.form == "gather")


def test_it_is_repeatable(full: bytes) -> None:
    assert share_weights(full, GATHER) == share_weights(full, GATHER)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (ShareWeights(form="packed"), "has the forms values and gather, not 'packed'"),
        (ShareWeights(conv_bits=13), "in 1 to 12 bits"),
        (ShareWeights(linear_bits=-1), "in 1 to 12 bits"),
        (replace(GATHER, linear_bits=9), "in 1 to 8 bits"),
        (replace(GATHER, bias_bits=5), "bias_bits must be 0"),
        (ShareWeights(exclude_nodes=("nobody",)), "has no node of that name"),
        (ShareWeights(conv_bits=0, linear_bits=0), "finds no weight"),
        (ShareWeights(least_elements=1 << 20), "finds no weight of 1048576 elements"),
    ],
)
def test_what_cannot_be_done_is_said(full: bytes, arguments: ShareWeights, said: str) -> None:
    with pytest.raises(NotApplied, match=said):
        share_weights(full, arguments)


def test_a_second_time_there_is_nothing_left_to_do(full: bytes) -> None:
    once = share_weights(full, ShareWeights())
    with pytest.raises(NotApplied, match="with more values than asked"):
        share_weights(once, ShareWeights())


def test_excluded_nodes_stay(full: bytes) -> None:
    graph = onnx.load_from_string(full).graph
    node = next(node for node in graph.node if node.op_type == "Conv")
    result = share_weights(full, ShareWeights(exclude_nodes=(node.name,)))
    np.testing.assert_array_equal(weights(result)[node.input[1]], weights(full)[node.input[1]])


def test_a_weight_that_callers_may_replace_is_refused() -> None:
    with pytest.raises(NotApplied, match="also an input of the graph"):
        share_weights(linear(weight=normal(64, 64), fed=True), ShareWeights())


def test_weights_that_are_no_numbers_are_refused() -> None:
    weight = normal(64, 64)
    weight[3, 3] = np.nan
    with pytest.raises(NotApplied, match="holds NaN or infinity"):
        share_weights(linear(weight=weight), ShareWeights())


def test_a_file_that_grows_is_refused() -> None:
    with pytest.raises(NotApplied, match="made the file larger"):
        share_weights(linear(weight=normal(9, 8)), ShareWeights(form="gather", linear_bits=6))


def test_lost_zeros_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(values: NDArray[np.float32], _k: int) -> Clustering:
        return Clustering(np.array([1, 2], np.float32), (values > 0).astype(np.uint8))

    weight = normal(64, 64)
    weight[weight < 0] = 0
    monkeypatch.setattr(module, "cluster", forgetful)
    with pytest.raises(NotApplied, match="lost zeros in 'w'"):
        share_weights(linear(weight=weight), ShareWeights())


def test_values_that_are_not_written_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_put", lambda graph, shared: None)
    with pytest.raises(NotApplied, match="did not leave 32 values in 'w'"):
        share_weights(linear(weight=normal(64, 64)), ShareWeights())
