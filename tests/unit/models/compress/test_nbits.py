"""Weights in blocks of 4 and 8 bits: every linear layer, and only those; rows independent; nothing skipped silently."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.compress import nbits
from models.compress.checks import NotApplied, op_counts
from models.compress.int4 import int4
from models.compress.int8_weights import int8_weights
from models.compress.nbits import Blocks, to_nbits
from tests.unit.models.compress.conftest import Real, load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs

FORMS = {"int4": (int4, Blocks, 4), "int8_weights": (int8_weights, Blocks, 8)}
Form = tuple[Callable[..., bytes], Callable[..., Any], int]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


def blocks_of(model: bytes) -> list[dict[str, int]]:
    nodes = [node for node in onnx.load_from_string(model).graph.node if node.op_type == "MatMulNBits"]
    return [{one.name: one.i for one in node.attribute} for node in nodes]


def test_every_linear_layer_is_in_blocks_with_the_kernel_that_is_fast(real: Real, form: Form) -> None:
    apply, arguments, bits = form
    before, made = op_counts(real.onnx), blocks_of(apply(real.onnx, arguments()))
    computed = 2 if real.name == "block" else 0
    assert len(made) == before["Gemm"] + before.get("MatMul", 0) - computed
    assert {(one["bits"], one["block_size"], one["accuracy_level"]) for one in made} == {(bits, 32, 4)}


def test_real_graphs_answer_nearly_as_before(real: Real, form: Form) -> None:
    apply, arguments, bits = form
    after = apply(real.onnx, arguments())
    assert 0 < real.error(after) < {8: 0.02, 4: 0.15}[bits]
    assert real.agreement(after) >= {8: 0.9, 4: 0.8}[bits]


def test_rows_do_not_depend_on_their_batch_mates(real: Real, form: Form) -> None:
    apply, arguments, _ = form
    assert real.sensitivity(apply(real.onnx, arguments())) < 1e-5


def test_four_bits_make_a_smaller_file_than_eight(mlp: Real) -> None:
    sizes = [len(model) / len(mlp.onnx) for model in (int4(mlp.onnx, Blocks()), int8_weights(mlp.onnx, Blocks()))]
    assert sizes[0] < 0.2
    assert 0.25 < sizes[1] < 0.33


def normal(model: bytes) -> float:
    """Relative error on a product with normally distributed weights."""
    feed = {"x": np.random.default_rng(1).standard_normal((64, 256)).astype(np.float32)}
    before, after = (load(one).run(feed)["y"] for one in (graphs.linear(256, 64), model))
    return float(np.linalg.norm(before - after) / np.linalg.norm(before))


def test_smaller_blocks_are_more_exact_and_larger_ones_smaller() -> None:
    made = [int4(graphs.linear(256, 64), Blocks(block_rows=rows)) for rows in (16, 32, 128)]
    errors, sizes = [normal(model) for model in made], [len(model) for model in made]
    assert errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True)


def test_zero_points_make_four_bits_more_exact() -> None:
    with_points, without = (int4(graphs.linear(256, 64), Blocks(symmetric=symmetric)) for symmetric in (False, True))
    assert normal(with_points) < normal(without)
    assert len(with_points) > len(without)


@pytest.mark.parametrize(("rows", "columns"), [(33, 64), (100, 70), (31, 256), (64, 33)])
def test_any_shape_of_weight_works(rows: int, columns: int, form: Form) -> None:
    """The last block is filled up with zeros."""
    apply, arguments, bits = form
    data = graphs.linear(rows, columns)
    feed = {"x": np.random.default_rng(1).standard_normal((5, rows)).astype(np.float32)}
    before, after = (load(model).run(feed)["y"] for model in (data, apply(data, arguments())))
    assert np.linalg.norm(before - after) < {8: 0.02, 4: 0.15}[bits] * np.linalg.norm(before)


def test_embedding_tables_are_in_eight_bits_too_unless_they_are_to_stay(block: Real, form: Form) -> None:
    apply, arguments, _ = form
    sizes = [len(apply(block.onnx, arguments(embeddings=embeddings))) for embeddings in (True, False)]
    assert sizes[0] < sizes[1] - 0.6 * 64 * 64 * 3


def test_excluded_layers_stay_in_float32(mlp: Real, form: Form) -> None:
    apply, arguments, _ = form
    first = next(node.name for node in onnx.load_from_string(mlp.onnx).graph.node if node.op_type == "Gemm")
    counts = op_counts(apply(mlp.onnx, arguments(exclude_nodes=(first,))))
    assert (counts["Gemm"], counts["MatMulNBits"]) == (1, 2)


def test_a_graph_of_convolutions_is_refused(form: Form) -> None:
    apply, arguments, _ = form
    convolutions = onnx.load_from_string(convolutional())
    del convolutions.graph.node[2:]
    convolutions.graph.output[0].CopyFrom(graphs.value("r", 1, ["batch", 16, 8, 8]))
    with pytest.raises(NotApplied, match="finds no Gemm, MatMul with a constant float32 weight"):
        apply(convolutions.SerializeToString(), arguments())


def test_a_weight_used_twice_is_refused(form: Form) -> None:
    apply, arguments, _ = form
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    ends = graphs.value("x", 1, ["N", 64]), graphs.value("y", 1, ["N", 64])
    with pytest.raises(NotApplied, match="weight 'w' of node 'MatMul_a': it is used 2 times"):
        apply(graphs.model(nodes, ends[:1], ends[1:], [weight]), arguments())


@pytest.mark.parametrize("rows", [0, 8, 48])
def test_a_size_of_block_that_no_kernel_takes_is_refused(mlp: Real, rows: int) -> None:
    with pytest.raises(NotApplied, match=f"int4 cuts weights into blocks of a power of two of .* 16 rows, not {rows}"):
        int4(mlp.onnx, Blocks(block_rows=rows))


def test_a_step_that_silently_skips_a_layer_is_refused(mlp: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nbits._quantise
    some = onnx.load_from_string(mlp.onnx).graph.node[0].name
    monkeypatch.setattr(
        nbits, "_quantise", lambda proto, bits, blocks, others: real(proto, bits, blocks, [*others, some])
    )
    with pytest.raises(NotApplied, match="a step made 2 MatMulNBits of 3 weights"):
        to_nbits(mlp.onnx, 4, Blocks(), "a step")


def test_a_file_that_grows_is_refused(form: Form) -> None:
    apply, arguments, _ = form
    with pytest.raises(NotApplied, match="made the file larger"):
        apply(graphs.linear(rows=2, columns=1), arguments())


def test_logging_is_left_as_it_was(mlp: Real) -> None:
    """The quantiser's module configures the root logger when it is imported."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, root.manager.disable
    int4(mlp.onnx, Blocks())
    assert (root.handlers[:], root.level, root.manager.disable) == before


def test_equal_models_give_equal_bytes(block: Real, form: Form) -> None:
    apply, arguments, _ = form
    assert apply(block.onnx, arguments()) == apply(block.onnx, arguments())
