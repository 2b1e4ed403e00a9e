"""Two of four: the pattern along the input axis of convolutions and linear layers, the larger two kept."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.compress import prune_2_4 as module
from models.compress.checks import NotApplied
from models.compress.prune_2_4 import Prune24, holds, input_axis, prune_2_4, pruned
from tests.unit.models.compress.conftest import Real
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs

Arrays = dict[str, np.ndarray]  # type: ignore[type-arg]


def weights(model: bytes) -> Arrays:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}


def patterned(model: bytes) -> dict[str, int]:
    """Weight -> input axis, of those that can hold the pattern."""
    graph, arrays = onnx.load_from_string(model).graph, weights(model)
    held = [n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in arrays]
    axes = {node.input[1]: input_axis(node) for node in held}
    return {name: axis for name, axis in axes.items() if arrays[name].shape[axis] % 4 == 0}


def test_every_weight_of_a_real_graph_that_can_holds_the_pattern(real: Real) -> None:
    before, after = weights(real.onnx), weights(prune_2_4(real.onnx, Prune24()))
    axes = patterned(real.onnx)
    assert len(axes) >= 3
    for name, axis in axes.items():
        assert not holds(before[name], axis)
        assert holds(after[name], axis)
        assert np.count_nonzero(after[name]) == before[name].size // 2
        kept = after[name] != 0
        assert np.array_equal(after[name][kept], before[name][kept])


def test_everything_else_is_whole(real: Real) -> None:
    before, after = weights(real.onnx), weights(prune_2_4(real.onnx, Prune24()))
    others = before.keys() - patterned(real.onnx).keys()
    assert others
    assert all(np.array_equal(before[name], after[name]) for name in others)


def test_the_two_largest_of_four_stay() -> None:
    row = np.array([[1, -4, 3, 2, 0.5, 0, -0.25, 8]], dtype=np.float32)
    assert pruned(row, 1).tolist() == [[0, -4, 3, 0, 0.5, 0, 0, 8]]
    assert pruned(row.T, 0).T.tolist() == pruned(row, 1).tolist()


def test_the_pattern_is_seen_along_its_axis_only() -> None:
    weight = pruned(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32), 0)
    assert holds(weight, 0)
    assert not holds(weight, 1)


@pytest.mark.parametrize(
    ("op_type", "attributes", "axis"),
    [("Conv", {}, 1), ("MatMul", {}, 0), ("Gemm", {}, 0), ("Gemm", {"transB": 0}, 0), ("Gemm", {"transB": 1}, 1)],
)
def test_the_input_axis(op_type: str, attributes: dict[str, int], axis: int) -> None:
    assert input_axis(helper.make_node(op_type, ["x", "w"], ["y"], **attributes)) == axis


def test_a_convolution_of_few_channels_stays_dense() -> None:
    """One channel in cannot hold the pattern; the linear layer's 1024 rows can."""
    after = weights(prune_2_4(convolutional(), Prune24()))
    assert np.count_nonzero(after["kernel"]) == after["kernel"].size
    assert np.count_nonzero(after["w"]) == after["w"].size // 2


def test_a_graph_where_nothing_can_hold_it_is_refused() -> None:
    with pytest.raises(NotApplied, match="prune_2_4 finds no weight whose input axis has a multiple of 4"):
        prune_2_4(convolutional(), Prune24(op_types=("Conv",)))


def test_a_layer_can_be_left_as_it_is(mlp: Real) -> None:
    first = onnx.load_from_string(mlp.onnx).graph.node[0]
    after = weights(prune_2_4(mlp.onnx, Prune24(exclude_nodes=(first.name,))))
    dense = [name for name in patterned(mlp.onnx) if np.count_nonzero(after[name]) == after[name].size]
    assert dense == [first.input[1]]


def test_a_weight_read_along_two_axes_is_refused() -> None:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], name="one"),
        helper.make_node("Gemm", ["a", "w"], ["y"], name="two", transB=1),
    ]
    ends = graphs.value("x", 1, ["N", 8]), graphs.value("y", 1, ["N", 8])
    with pytest.raises(NotApplied, match="cannot prune 'w': nodes read it along different axes"):
        prune_2_4(graphs.model(nodes, ends[:1], ends[1:], [weight]), Prune24())


def test_a_pattern_that_does_not_hold_is_refused(mlp: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pruned", lambda weight, axis: weight)
    with pytest.raises(NotApplied, match="prune_2_4 left more than 2 of 4 weights in"):
        prune_2_4(mlp.onnx, Prune24())


def test_equal_models_give_equal_bytes(mlp: Real) -> None:
    once = prune_2_4(mlp.onnx, Prune24())
    assert prune_2_4(once, Prune24()) == once == prune_2_4(mlp.onnx, Prune24())
