"""A model's main graph as the techniques edit it: the weights that they change, who uses them, what they refuse.

What a technique cannot do is refused in one sentence that names the node; naming that node in `exclude_nodes` leaves
it as it is. Nothing is skipped silently but products whose second operand is computed, for they have no weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.compress.checks import NotApplied

LEAST_OPSET = 13
LINEAR = ("Gemm", "MatMul")

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A node of the main graph and its constant float32 weight, both as they stand in the model."""

    node: onnx.NodeProto
    weight: onnx.TensorProto

    def array(self) -> Floats:
        """The weight's values: a copy."""
        return numpy_helper.to_array(self.weight).copy()


def read(model: bytes, step: str) -> onnx.ModelProto:
    """Parses a file for editing: every node named, constants among the initializers, no shape told twice.

    Raises:
        NotApplied: weights lie outside the file, or the opset is older than `LEAST_OPSET`.
    """
    proto = onnx.load_from_string(model)
    refuse_old(proto, step)
    _lift_constants(proto.graph)
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise NotApplied(f"{step} needs every weight inside the file, and {tensor.name!r} is kept outside it.")
    # The torch exporter tells the shape of a transposed weight wrongly, over which shape inference stumbles.
    weights = {tensor.name for tensor in proto.graph.initializer}
    _keep(proto.graph.value_info, [info for info in proto.graph.value_info if info.name not in weights])
    name_nodes(proto.graph)
    return proto


def write(proto: onnx.ModelProto) -> bytes:
    """The edited model, without the initializers that no node uses any more; equal models give equal bytes."""
    used = uses(proto.graph)
    _keep(proto.graph.initializer, [tensor for tensor in proto.graph.initializer if used[tensor.name]])
    return proto.SerializeToString(deterministic=True)


def opset(proto: onnx.ModelProto) -> int:
    """The version of ONNX's own operators; 0 where the model imports none."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def refuse_old(proto: onnx.ModelProto, step: str) -> None:
    """Holds the model to an opset whose operators can say what the step writes.

    Raises:
        NotApplied: it is older than `LEAST_OPSET`.
    """
    if opset(proto) < LEAST_OPSET:
        raise NotApplied(
            f"{step} needs opset {LEAST_OPSET} or newer, and the model has {opset(proto)}: export it anew, "
            "or convert it with onnx.version_converter."
        )


def name_nodes(graph: onnx.GraphProto) -> None:
    """Gives each node a name of its own, so that recipes can exclude it; names that are so already stay."""
    taken = {node.name for node in graph.node}
    seen = {""}
    for node in graph.node:
        if node.name in seen:
            node.name = fresh(node.name or f"{node.op_type}_{'_'.join(node.output[:1])}", taken)
            taken.add(node.name)
        seen.add(node.name)


def fresh(name: str, taken: Collection[str]) -> str:
    """`name`, or with the first number behind it that makes it new."""
    number = 1
    candidate = name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a tensor in the main graph."""
    ends = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    return ends | {name for node in graph.node for name in (*node.input, *node.output)}


def weighted(
    proto: onnx.ModelProto,
    op_types: Sequence[str],
    step: str,
    exclude: Sequence[str] = (),
    *,
    may_share: bool = False,
    may_lack: bool = False,
) -> list[Weighted]:
    """The nodes of these types with a constant float32 weight, in the graph's order.

    Args:
        proto: as `read` gives it.
        op_types: their second input is the weight; of MatMul and Gemm it has two axes.
        step: the technique's name, for the messages.
        exclude: names of nodes to leave alone.
        may_share: whether a weight that several nodes use may be changed, as where every user sees the same change.
        may_lack: whether none at all is an answer too.

    Raises:
        NotApplied: there is none, one cannot be changed, more of them hide in a subgraph or a function, or `exclude`
            names what is not there.
    """
    known_nodes(proto, exclude, step)
    refuse_hidden(proto, op_types, step, exclude)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = [
        Weighted(node, weights[node.input[1]])
        for node in proto.graph.node
        if node.op_type in op_types and node.name not in exclude and _has_weight(node, weights)
    ]
    if not found and not may_lack:
        raise NotApplied(f"{step} finds no {', '.join(op_types)} with a constant float32 weight.")
    fed = {value.name for value in proto.graph.input}
    used = uses(proto.graph)
    for one in found:
        _refuse(one, fed, used, step, may_share)
    return found


def known_nodes(proto: onnx.ModelProto, wanted: Iterable[str], step: str) -> None:
    """Holds names of nodes, as a recipe gives them, against the main graph.

    Raises:
        NotApplied: the graph has no node of one of these names.
    """
    missing = sorted(set(wanted) - {node.name for node in proto.graph.node})
    if missing:
        raise NotApplied(f"{step} is to leave {missing[0]!r} alone, and the graph has no node of that name.")


def refuse_hidden(proto: onnx.ModelProto, op_types: Sequence[str], step: str, exclude: Sequence[str]) -> None:
    """Holds the step to the main graph, which is all that the tools look at.

    Raises:
        NotApplied: a function, or a subgraph of a node that is not excluded, holds a node of one of these types.
    """
    for function in proto.functions:
        if any(node.op_type in op_types for node in function.node):
            raise NotApplied(f"{step} does not look into function {function.name!r}; preprocess resolves functions.")
    for node in proto.graph.node:
        hidden = {inner.op_type for inner in inner_nodes(node)} & set(op_types)
        if hidden and node.name not in exclude:
            raise NotApplied(
                f"{step} does not look into the subgraphs of node {node.name!r} ({node.op_type}), which hold "
                f"{', '.join(sorted(hidden))}; exclude_nodes would leave them as they are."
            )


def replace(weight: onnx.TensorProto, array: NDArray[np.generic]) -> None:
    """Puts new values into a weight, under its name."""
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), weight.name))


def add(graph: onnx.GraphProto, name: str, array: NDArray[np.generic]) -> str:
    """A new initializer; the name that it got."""
    name = fresh(name, names(graph))
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def put_nodes(graph: onnx.GraphProto, instead: dict[str, list[onnx.NodeProto]]) -> None:
    """Replaces nodes, by name, with others, or none, at the same place; the order stays topological."""
    _keep(graph.node, [new for old in graph.node for new in instead.get(old.name, [old])])


def inner_nodes(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Every node in the subgraphs of a node, at any depth."""
    for attribute in node.attribute:
        for subgraph in (attribute.g, *attribute.graphs):
            for inner in subgraph.node:
                yield inner
                yield from inner_nodes(inner)


def _lift_constants(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if node.op_type != "Constant" or not values:
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(values[0])
        tensor.name = node.output[0]
    _keep(graph.node, kept)


def _keep(field, kept) -> None:  # type: ignore[no-untyped-def] # protobuf's repeated fields have no common type
    kept = [type(one).FromString(one.SerializeToString()) for one in kept]
    del field[:]
    field.extend(kept)


def _has_weight(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    weight = weights.get(node.input[1]) if len(node.input) > 1 else None
    if weight is None or weight.data_type != onnx.TensorProto.FLOAT:
        return False
    return node.op_type not in LINEAR or len(weight.dims) == 2


def uses(graph: onnx.GraphProto) -> Counter[str]:
    """How often each tensor is read: by nodes, at any depth, and as an output of the graph."""
    found = Counter(value.name for value in graph.output)
    for node in graph.node:
        found.update(node.input)
        for inner in inner_nodes(node):
            found.update(inner.input)
    return found


def _refuse(one: Weighted, fed: set[str], used: Counter[str], step: str, may_share: bool) -> None:
    where = f"{step} cannot change the weight {one.weight.name!r} of node {one.node.name!r}"
    if one.weight.name in fed:
        raise NotApplied(f"{where}: it is also an input of the graph, so that a caller may replace it.")
    if used[one.weight.name] > 1 and not may_share:
        raise NotApplied(f"{where}: it is used {used[one.weight.name]} times; exclude_nodes would leave it as it is.")
