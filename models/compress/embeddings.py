"""Embedding tables in 8 bits with one scale a row of the table: a looked-up row is taken back to float32 on its own.

Tables are often half of a text model, and the forms for linear layers leave them as they are. Only operators of the
ONNX standard; answers do not depend on batch-mates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.compress import graph as graphs
from models.compress.graph import Weighted

LEAST_ROWS = 64
_STEPS = 127


def tables(proto: onnx.ModelProto, exclude: Sequence[str] = ()) -> list[Weighted]:
    """The look-ups in a constant float32 table (rows, width) of at least `LEAST_ROWS` rows, with the table.

    A table that anything but a look-up reads too, such as the layer of the answers, is not among them.
    """
    others = {name for node in proto.graph.node if not _is_lookup(node) for name in node.input}
    others |= {value.name for value in (*proto.graph.input, *proto.graph.output)}
    others |= {name for node in proto.graph.node for inner in graphs.inner_nodes(node) for name in inner.input}
    others |= {node.input[0] for node in proto.graph.node if _is_lookup(node) and node.name in exclude}
    held = {
        tensor.name: tensor for tensor in proto.graph.initializer if _is_table(tensor) and tensor.name not in others
    }
    return [
        Weighted(node, held[node.input[0]]) for node in proto.graph.node if _is_lookup(node) and node.input[0] in held
    ]


def quantise_tables(proto: onnx.ModelProto, lookups: Sequence[Weighted]) -> None:
    """Rewrites, in place, each of these look-ups; each keeps its node's name on the look-up of the 8 bits."""
    done: dict[str, tuple[str, str]] = {}
    instead = {}
    for one in lookups:
        if one.weight.name not in done:
            done[one.weight.name] = _quantised(proto.graph, one.weight)
        instead[one.node.name] = _lookup(proto.graph, one.node, *done[one.weight.name])
    graphs.put_nodes(proto.graph, instead)


def _is_lookup(node: onnx.NodeProto) -> bool:
    axes = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    return node.op_type == "Gather" and axes in ([], [0])


def _is_table(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2 and tensor.dims[0] >= LEAST_ROWS


def _quantised(graph: onnx.GraphProto, table: onnx.TensorProto) -> tuple[str, str]:
    array = numpy_helper.to_array(table)
    scales = np.maximum(np.abs(array).max(axis=1, keepdims=True) / _STEPS, np.finfo(np.float32).tiny)
    int8 = np.clip(np.rint(array / scales), -_STEPS, _STEPS).astype(np.int8)
    return graphs.add(graph, f"{table.name}_int8", int8), graphs.add(graph, f"{table.name}_scales", scales)


def _lookup(graph: onnx.GraphProto, node: onnx.NodeProto, int8: str, scales: str) -> list[onnx.NodeProto]:
    output, at = node.output[0], node.input[1]
    taken = graphs.names(graph)
    row, real, scale = (graphs.fresh(f"{output}_{part}", taken) for part in ("int8", "float", "scale"))
    return [
        helper.make_node("Gather", [int8, at], [row], name=node.name),
        helper.make_node("Gather", [scales, at], [scale], name=f"{node.name}_scale"),
        helper.make_node("Cast", [row], [real], name=f"{node.name}_float", to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [real, scale], [output], name=f"{node.name}_product"),
    ]
