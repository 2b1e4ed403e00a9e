"""Turns Gemm into MatMul and Add, which give the same answers: many tools quantise MatMul and silently skip Gemm.

Handles every attribute: `alpha` is multiplied into the weight, `beta` into the bias, `transB` turns the weight once,
`transA` becomes a Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from models.compress import graph as graphs
from models.compress.graph import Weighted


def gemm_to_matmul(proto: onnx.ModelProto, gemms: Sequence[Weighted]) -> None:
    """Rewrites, in place, those of the nodes that are Gemm; each one's MatMul keeps the node's name.

    Args:
        proto: as `graph.read` gives it.
        gemms: of `graph.weighted`; each weight float32 (K, N), or (N, K) with `transB`.
    """
    instead = {one.node.name: _nodes(proto.graph, one) for one in gemms if one.node.op_type == "Gemm"}
    graphs.put_nodes(proto.graph, instead)


def _nodes(graph: onnx.GraphProto, gemm: Weighted) -> list[onnx.NodeProto]:
    node = gemm.node
    told = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    nodes = []
    rows = node.input[0]
    if told.get("transA"):
        turned = graphs.fresh(f"{node.name}_turned", graphs.names(graph))
        nodes.append(helper.make_node("Transpose", [rows], [turned], name=f"{node.name}_rows", perm=[1, 0]))
        rows = turned
    has_bias = len(node.input) > 2 and node.input[2]
    product = graphs.fresh(f"{node.output[0]}_product", graphs.names(graph)) if has_bias else node.output[0]
    nodes.append(helper.make_node("MatMul", [rows, _weight(graph, gemm, told)], [product], name=node.name))
    if has_bias:
        nodes += _bias(graph, node, product, told.get("beta", 1.0))
    return nodes


def _weight(graph: onnx.GraphProto, gemm: Weighted, told: dict[str, float]) -> str:
    turn, alpha = told.get("transB", 0), told.get("alpha", 1.0)
    if not turn and alpha == 1:
        return gemm.weight.name
    array = gemm.array() * np.float32(alpha)
    return graphs.add(graph, f"{gemm.weight.name}_kn", array.T if turn else array)


def _bias(graph: onnx.GraphProto, node: onnx.NodeProto, product: str, beta: float) -> list[onnx.NodeProto]:
    bias = node.input[2]
    nodes = []
    if beta != 1:
        factor = graphs.add(graph, f"{node.name}_beta", np.array(beta, dtype=np.float32))
        scaled = graphs.fresh(f"{node.name}_scaled_bias", graphs.names(graph))
        nodes.append(helper.make_node("Mul", [bias, factor], [scaled], name=f"{node.name}_beta"))
        bias = scaled
    nodes.append(helper.make_node("Add", [product, bias], [node.output[0]], name=f"{node.name}_bias"))
    return nodes
