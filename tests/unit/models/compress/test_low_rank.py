"""Low rank: a split where it saves multiplications and only there, the closest of its rank, biases kept."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.compress import low_rank as module
from models.compress.checks import NotApplied, op_counts
from models.compress.low_rank import LowRank, low_rank, rank
from tests.unit.models.compress.conftest import Real, load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs


def of_rank(kept: int, rows: int = 64, columns: int = 48) -> bytes:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((rows, kept)) @ rng.standard_normal((kept, columns))).astype(np.float32)
    return graphs.matmul(numpy_helper.from_array(weight, "w"), rows, columns)


def shapes(model: bytes) -> list[tuple[int, ...]]:
    return [tuple(tensor.dims) for tensor in onnx.load_from_string(model).graph.initializer if len(tensor.dims) == 2]


def test_a_weight_of_low_rank_is_found_and_answers_stay() -> None:
    data, rows = of_rank(5), {"x": np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)}
    after = low_rank(data, LowRank(energy=0.999999))
    assert shapes(after) == [(64, 5), (5, 48)]
    before, now = (load(model).run(rows)["y"] for model in (data, after))
    assert np.allclose(before, now, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_the_split_is_the_closest_of_its_rank() -> None:
    """The error of the weight is what the dropped singular values say (Eckart and Young)."""
    data = graphs.linear(64, 48)
    left, right = (
        numpy_helper.to_array(t) for t in onnx.load_from_string(low_rank(data, LowRank(ratio=0.5))).graph.initializer
    )
    weight = numpy_helper.to_array(onnx.load_from_string(data).graph.initializer[0])
    dropped = np.linalg.svd(weight, compute_uv=False)[left.shape[1] :]
    assert np.isclose(np.linalg.norm(weight - left @ right), np.linalg.norm(dropped), rtol=1e-4)


@pytest.mark.parametrize(("ratio", "kept"), [(0.5, 13), (0.25, 6), (0.001, 1)])
def test_the_ratio_is_of_multiplications(ratio: float, kept: int) -> None:
    assert rank(np.ones(48, dtype=np.float32), (64, 48), LowRank(ratio=ratio)) == kept
    assert kept == 1 or kept * (64 + 48) <= ratio * 64 * 48


def test_the_energy_is_of_squares() -> None:
    values = np.array([3, 2, 1, 1], dtype=np.float32)
    assert [rank(values, (4, 4), LowRank(energy=energy)) for energy in (0.6, 0.61, 0.9, 1.0)] == [1, 2, 3, 4]


def test_only_layers_that_it_pays_for_are_split(digits_net: Real) -> None:
    before, after = op_counts(digits_net.onnx), op_counts(low_rank(digits_net.onnx, LowRank()))
    assert before["Gemm"] == 2
    assert (after["Gemm"], after["MatMul"], after["Add"]) == (1, 2, 1)


def test_a_trained_network_answers_nearly_as_before(digits_net: Real) -> None:
    after = low_rank(digits_net.onnx, LowRank())
    assert len(after) < len(digits_net.onnx)
    assert 0 < digits_net.error(after) < 0.1
    assert digits_net.agreement(after) >= 0.98


def test_every_linear_layer_is_split_at_a_ratio(real: Real) -> None:
    before, after = op_counts(real.onnx), low_rank(real.onnx, LowRank(ratio=0.5))
    counts = op_counts(after)
    layers = before["Gemm"] + before.get("MatMul", 0) - (2 if real.name == "block" else 0)
    assert counts["MatMul"] - before.get("MatMul", 0) == layers + before["Gemm"]
    assert "Gemm" not in counts
    assert real.error(after) < 1
    assert real.sensitivity(after) < 1e-3


def test_a_whole_rank_is_not_worth_it() -> None:
    with pytest.raises(NotApplied, match="low_rank saves no multiplications in any of 1 weights; ask for less"):
        low_rank(graphs.linear(64, 48), LowRank(energy=1.0))


def test_a_layer_can_be_left_as_it_is(mlp: Real) -> None:
    first = onnx.load_from_string(mlp.onnx).graph.node[0].name
    counts = op_counts(low_rank(mlp.onnx, LowRank(ratio=0.5, exclude_nodes=(first,))))
    assert (counts["Gemm"], counts["MatMul"], counts["Add"]) == (1, 4, 2)


@pytest.mark.parametrize("wrong", [LowRank(energy=0), LowRank(energy=1.1), LowRank(ratio=1.0), LowRank(ratio=-0.1)])
def test_what_is_no_argument_is_refused(wrong: LowRank) -> None:
    with pytest.raises(NotApplied, match="takes an energy over 0 and at most 1 and a ratio below 1"):
        low_rank(of_rank(5), wrong)


def test_a_graph_without_linear_layers_is_refused() -> None:
    with pytest.raises(NotApplied, match="low_rank finds no Gemm, MatMul with a constant float32 weight"):
        low_rank(convolutional(), LowRank(exclude_nodes=("Gemm_logits",)))


def test_a_split_that_did_not_happen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.graphs, "put_nodes", lambda graph, instead: None)
    with pytest.raises(NotApplied, match="low_rank made 0 more MatMul, and 1 were due"):
        low_rank(of_rank(5), LowRank())


def test_equal_models_give_equal_bytes(digits_net: Real) -> None:
    assert low_rank(digits_net.onnx, LowRank()) == low_rank(digits_net.onnx, LowRank())
