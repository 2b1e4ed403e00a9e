"""Splits the weight of a linear layer into two thin ones by singular values, where that saves multiplications.

The closest product of two matrices of a rank is what the largest singular values give (Eckart and Young 1936); for
networks: Denton et al. 2014 (arXiv 1404.0736), Sainath et al. 2013, "Low-rank matrix factorization". A trained
network loses much unless it is fine-tuned afterwards or was trained towards low ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from models.compress import graph as graphs
from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.gemm_to_matmul import gemm_to_matmul
from models.compress.graph import Floats, Weighted
from models.compress.technique import Material, Technique

_STEP = "low_rank"


@dataclass(frozen=True, slots=True)
class LowRank:
    """Arguments of `low_rank`; each goes into the card.

    Attributes:
        energy: share of the squared singular values that each weight keeps; over 0, at most 1.
        ratio: instead of `energy`, where it is not 0: share of each layer's multiplications that remain, below 1.
        exclude_nodes: names of nodes that stay as they are.
    """

    energy: float = 0.95
    ratio: float = 0.0
    exclude_nodes: tuple[str, ...] = ()


def low_rank(model: bytes, arguments: LowRank, material: Material | None = None) -> bytes:
    """The model with each MatMul and Gemm that it pays for as two MatMul; biases stay; no material is looked at.

    Raises:
        NotApplied: an argument is not one, there is no weight, or no split saves multiplications.
    """
    if not 0 < arguments.energy <= 1 or not 0 <= arguments.ratio < 1:
        raise NotApplied(f"{_STEP} takes an energy over 0 and at most 1 and a ratio below 1, not {arguments}.")
    proto = graphs.read(model, _STEP)
    found = graphs.weighted(proto, graphs.LINEAR, _STEP, arguments.exclude_nodes)
    ranks = {one.node.name: rank(_values(one), tuple(one.weight.dims), arguments) for one in found}
    worth = [one for one in found if _saves(ranks[one.node.name], one)]
    if not worth:
        raise NotApplied(f"{_STEP} saves no multiplications in any of {len(found)} weights; ask for less.")
    chosen = [one.node.name for one in worth]
    gemm_to_matmul(proto, worth)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    products = [Weighted(node, weights[node.input[1]]) for node in proto.graph.node if node.name in chosen]
    graphs.put_nodes(proto.graph, {one.node.name: _split(proto.graph, one, ranks[one.node.name]) for one in products})
    result = graphs.write(proto)
    _assert_split(model, result, worth)
    same_signature(model, result, _STEP)
    return result


def rank(values: Floats, shape: tuple[int, ...], arguments: LowRank) -> int:
    """How many singular values, largest first, a weight of this shape keeps; at least one."""
    if arguments.ratio:
        return max(1, int(arguments.ratio * shape[0] * shape[1] / sum(shape)))
    energy = np.cumsum(values.astype(np.float64) ** 2)
    return 1 + int(np.searchsorted(energy, arguments.energy * energy[-1]))


def _values(one: Weighted) -> Floats:
    return np.linalg.svd(one.array(), compute_uv=False)


def _saves(kept: int, one: Weighted) -> bool:
    rows, columns = one.weight.dims
    return kept * (rows + columns) < rows * columns


def _split(graph: onnx.GraphProto, product: Weighted, kept: int) -> list[onnx.NodeProto]:
    left, values, right = np.linalg.svd(product.array(), full_matrices=False)
    root = np.sqrt(values[:kept])
    name, node = product.weight.name, product.node
    first = graphs.add(graph, f"{name}_left", left[:, :kept] * root)
    second = graphs.add(graph, f"{name}_right", root[:, np.newaxis] * right[:kept])
    middle = graphs.fresh(f"{node.output[0]}_rank", graphs.names(graph))
    return [
        helper.make_node("MatMul", [node.input[0], first], [middle], name=node.name),
        helper.make_node("MatMul", [middle, second], [node.output[0]], name=f"{node.name}_right"),
    ]


def _assert_split(before: bytes, after: bytes, worth: list[Weighted]) -> None:
    gemms = sum(one.node.op_type == "Gemm" for one in worth)
    made = op_counts(after)["MatMul"] - op_counts(before).get("MatMul", 0)
    if made != len(worth) + gemms:
        raise NotApplied(f"{_STEP} made {made} more MatMul, and {len(worth) + gemms} were due.")
    if len(after) >= len(before):
        raise NotApplied(f"{_STEP} made the file larger: {len(before)} bytes became {len(after)}.")


TECHNIQUE = Technique("low_rank", LowRank, low_rank)
