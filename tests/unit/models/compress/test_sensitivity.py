"""Ranking nodes by what a technique does to them: one group at a time, worst first, and what it costs is bounded."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.compress import graph as graphs
from models.compress.checks import NotApplied
from models.compress.int4 import int4
from models.compress.int8_static import Int8Static, int8_static
from models.compress.nbits import Blocks
from models.compress.sensitivity import BLOCKS, MOST_SINGLE_NODES, candidates, grouped, rank_groups, rank_nodes
from models.compress.technique import Material
from tests.unit.models.compress.conftest import Real, load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime.graphs import mlp as products


def test_candidates_are_the_named_nodes_with_a_constant_operand(block: Real) -> None:
    found = candidates(block.onnx, ("MatMul", "Gemm"))
    nodes = onnx.load_from_string(block.onnx).graph.node
    assert len(found) == 5
    assert list(found) == [node.name for node in nodes if node.name in found]
    assert candidates(convolutional(), ("Conv",)) == ()


def test_few_nodes_stand_alone_and_many_in_runs() -> None:
    few = [f"n{i}" for i in range(MOST_SINGLE_NODES)]
    assert grouped(few) == tuple((name,) for name in few)
    many = [f"n{i}" for i in range(3 * MOST_SINGLE_NODES + 1)]
    groups = grouped(many)
    assert len(groups) == BLOCKS
    assert [name for group in groups for name in group] == many
    assert {len(group) for group in groups} <= {6, 7}


def test_one_group_is_changed_at_a_time() -> None:
    seen = []

    def quantise(model: bytes, exclude: tuple[str, ...]) -> bytes:
        seen.append(exclude)
        return model

    rank_nodes(b"", quantise, lambda _: 0.0, [["a", "b"], ["c"], ["d"]])
    assert seen == [("c", "d"), ("a", "b", "d"), ("a", "b", "c")]


def test_the_largest_error_comes_first_and_equals_in_their_order() -> None:
    errors = {b"a": 0.1, b"b": 0.5, b"c": 0.1, b"d": float("nan"), b"e": 0.0}
    left = ["a", "b", "c", "d", "e", "f"]

    def quantise(_: bytes, exclude: tuple[str, ...]) -> bytes:
        (name,) = set(left) - set(exclude)
        if name == "f":
            raise NotApplied("nothing to do")
        return name.encode()

    told: list[tuple[int, int]] = []
    ranked = rank_groups(
        b"", quantise, lambda model: errors[model], [[name] for name in left], lambda *at: told.append(at)
    )
    assert [one.nodes for one in ranked] == [("d",), ("b",), ("a",), ("c",), ("e",), ("f",)]
    assert ranked[-1].error is None
    assert told == [(done, 6) for done in range(1, 7)]


def spoilt(seed: int) -> tuple[bytes, str]:
    """Four products, of which one has a weight that four bits cannot hold: an outlier in every block."""
    proto = graphs.read(products(4, 128), "a test")
    weight = proto.graph.initializer[seed]
    array = numpy_helper.to_array(weight).copy()
    array[::32] *= 40
    graphs.replace(weight, array)
    return graphs.write(proto), proto.graph.node[seed].name


@pytest.mark.parametrize("at", [0, 2])
def test_a_layer_that_four_bits_cannot_hold_ranks_first(at: int) -> None:
    model, worst = spoilt(at)
    rows = {"x0": np.random.default_rng(0).standard_normal((16, 128)).astype(np.float32)}
    expected = load(model).run(rows)["x4"]

    def error(changed: bytes) -> float:
        return float(np.linalg.norm(load(changed).run(rows)["x4"] - expected) / np.linalg.norm(expected))

    def quantise(data: bytes, exclude: tuple[str, ...]) -> bytes:
        return int4(data, Blocks(exclude_nodes=exclude))

    ranked = rank_nodes(model, quantise, error, grouped(candidates(model, ("MatMul",))))
    assert ranked[0] == worst
    assert len(ranked) == 4
    better = error(quantise(model, ranked[:1]))
    assert better < error(quantise(model, ranked[-1:]))


@pytest.mark.slow
def test_leaving_out_the_worst_of_a_real_network_brings_it_closer(resnet20: Real) -> None:
    def quantise(data: bytes, exclude: tuple[str, ...]) -> bytes:
        return int8_static(data, Int8Static(exclude_nodes=exclude), Material(resnet20.calibration))

    nodes = candidates(resnet20.onnx, ("Conv", "Gemm"))
    assert len(nodes) > 15
    groups = (nodes[:1], nodes[1:7], nodes[7:13], nodes[13:])
    ranked = rank_nodes(resnet20.onnx, quantise, resnet20.error, groups)
    assert sorted(ranked) == sorted(nodes)
    first = next(group for group in groups if ranked[0] in group)
    assert resnet20.error(quantise(resnet20.onnx, first)) < resnet20.error(quantise(resnet20.onnx, ()))
