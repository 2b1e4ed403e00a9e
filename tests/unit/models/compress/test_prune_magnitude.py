"""Magnitude pruning: the exact share of zeros, the smallest first, biases and normalisations whole."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.compress import prune_magnitude as module
from models.compress.checks import NotApplied, op_counts
from models.compress.prune_magnitude import PruneMagnitude, prune_magnitude, smallest
from tests.unit.models.compress.conftest import Real
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs

Arrays = dict[str, np.ndarray]  # type: ignore[type-arg]


def weights(model: bytes) -> Arrays:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}


def pruned_names(model: bytes) -> set[str]:
    """Of the weights of Conv, Gemm and MatMul."""
    graph = onnx.load_from_string(model).graph
    held = {t.name for t in graph.initializer}
    return {n.input[1] for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in held}


def zeros(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(np.count_nonzero(array == 0))


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_each_layer_of_a_real_graph_has_exactly_the_share(real: Real, sparsity: float) -> None:
    before, after = weights(real.onnx), weights(prune_magnitude(real.onnx, PruneMagnitude(sparsity)))
    names = pruned_names(real.onnx)
    assert len(names) >= 3
    for name in names:
        assert zeros(after[name]) == round(sparsity * before[name].size)
        kept = after[name] != 0
        assert np.array_equal(after[name][kept], before[name][kept])
        assert np.abs(before[name][~kept]).max() <= np.abs(before[name][kept]).min()


def test_all_layers_together_have_exactly_the_share(real: Real) -> None:
    after = weights(prune_magnitude(real.onnx, PruneMagnitude(0.5, scope="global")))
    names = sorted(pruned_names(real.onnx))
    everything = np.concatenate([after[name].ravel() for name in names])
    assert zeros(everything) == round(0.5 * everything.size)
    shares = [zeros(after[name]) / after[name].size for name in names]
    assert max(shares) - min(shares) > 0.01


def test_everything_else_is_whole(real: Real) -> None:
    before, model = weights(real.onnx), prune_magnitude(real.onnx, PruneMagnitude(0.9))
    after, names = weights(model), pruned_names(real.onnx)
    others = before.keys() - names
    assert others
    assert all(np.array_equal(before[name], after[name]) for name in others)
    assert op_counts(model) == op_counts(real.onnx)


def test_a_little_pruning_leaves_the_answers_close(digits_net: Real) -> None:
    assert digits_net.agreement(prune_magnitude(digits_net.onnx, PruneMagnitude(0.3, scope="global"))) >= 0.95


def test_a_layer_can_be_left_as_it_is() -> None:
    after = weights(prune_magnitude(convolutional(), PruneMagnitude(0.5, exclude_nodes=("Conv_c",))))
    assert (zeros(after["kernel"]), zeros(after["w"])) == (0, 2048)
    after = weights(prune_magnitude(convolutional(), PruneMagnitude(0.5, op_types=("Conv",))))
    assert (zeros(after["kernel"]), zeros(after["w"])) == (72, 0)


def test_a_second_time_changes_nothing_and_zeros_that_were_there_count() -> None:
    once = prune_magnitude(convolutional(), PruneMagnitude(0.5))
    assert prune_magnitude(once, PruneMagnitude(0.5)) == once
    assert prune_magnitude(once, PruneMagnitude(0.2)) == once


def test_among_equals_the_first_go() -> None:
    assert smallest(np.array([[1, -1], [1, 0.5]], dtype=np.float32), 2).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("wrong", [PruneMagnitude(0.0), PruneMagnitude(1.0), PruneMagnitude(0.5, scope="all")])
def test_what_is_no_argument_is_refused(wrong: PruneMagnitude) -> None:
    with pytest.raises(NotApplied, match="takes a sparsity between 0 and 1 and the scope layer or global, not"):
        prune_magnitude(convolutional(), wrong)


def test_a_graph_without_weights_is_refused() -> None:
    with pytest.raises(NotApplied, match="prune_magnitude finds no Conv, Gemm, MatMul with a constant float32 weight"):
        prune_magnitude(graphs.identity(), PruneMagnitude())


def test_another_share_than_asked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_pruned", lambda arrays, sparsity: arrays)
    with pytest.raises(NotApplied, match="left 0 zeros of 144 weights in kernel, and 72 was asked"):
        prune_magnitude(convolutional(), PruneMagnitude(0.5))


def test_equal_models_give_equal_bytes(mlp: Real) -> None:
    assert prune_magnitude(mlp.onnx, PruneMagnitude()) == prune_magnitude(mlp.onnx, PruneMagnitude())
