"""Lets each weight tensor hold few different values, found by k-means: smaller once coded, or as indices at once.

`values` writes the shared values in their places, for `deep_file` to code. `gather` writes a codebook and 8-bit indices
that standard operators, Cast and Gather, turn back into weights while the model loads: a quarter of the file, the
speed and the memory of float32. Weights that are zero stay zero, and no others become it.
Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016), section 3, without its fine-tuning of the shared values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from models.compress import graph as graphs
from models.compress.checks import NotApplied, same_signature
from models.compress.clustering import Clustering, cluster
from models.compress.graph import Floats
from models.compress.technique import Material, Technique

_STEP = "share_weights"
_FORMS = ("values", "gather")
_MOST_BITS = {"values": 12, "gather": 8}
_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True, slots=True)
class ShareWeights:
    """Arguments of `share_weights`; each goes into the card.

    Attributes:
        form: "values" or "gather".
        conv_bits: convolutions share at most 2**conv_bits values a tensor; 0 leaves them as they are.
        linear_bits: likewise of matrix products.
        bias_bits: likewise of the biases of both, where they are the node's own; only in form "values".
        least_elements: tensors with fewer stay as they are.
        exclude_nodes: names of nodes that stay as they are.
    """

    form: str = "values"
    conv_bits: int = 8
    linear_bits: int = 5
    bias_bits: int = 0
    least_elements: int = 64
    exclude_nodes: tuple[str, ...] = ()


def share_weights(model: bytes, arguments: ShareWeights, material: Material | None = None) -> bytes:
    """The model with shared weights; no material is looked at.

    Raises:
        NotApplied: an argument is not one, no tensor has more values than it may keep, or the result is not as it
            should be.
    """
    _check(arguments)
    proto = graphs.read(model, _STEP)
    shared = {}
    for tensor, bits in _targets(proto, arguments):
        before: Floats = numpy_helper.to_array(tensor)
        if before.size >= arguments.least_elements and len(np.unique(before)) > 1 << bits:
            shared[tensor.name] = _share(tensor.name, before, bits)
    if not shared:
        raise NotApplied(f"{_STEP} finds no weight of {arguments.least_elements} elements with more values than asked.")
    if arguments.form == "gather":
        _gather(proto.graph, shared)
    else:
        _put(proto.graph, shared)
    result = graphs.write(proto)
    if arguments.form == "gather" and len(result) >= len(model):
        raise NotApplied(f"{_STEP} made the file larger: {len(model)} bytes became {len(result)}.")
    _assert_written(result, shared, arguments.form)
    same_signature(model, result, _STEP)
    return result


def _check(arguments: ShareWeights) -> None:
    if arguments.form not in _FORMS:
        raise NotApplied(f"{_STEP} has the forms {' and '.join(_FORMS)}, not {arguments.form!r}.")
    most = _MOST_BITS[arguments.form]
    bits = (arguments.conv_bits, arguments.linear_bits, arguments.bias_bits)
    if not all(0 <= one <= most for one in bits):
        raise NotApplied(
            f"{_STEP} in form {arguments.form} shares in 1 to {most} bits, or 0 for not at all, not {bits}."
        )
    if arguments.form == "gather" and arguments.bias_bits:
        raise NotApplied(f"{_STEP} in form gather leaves biases as they are: bias_bits must be 0.")


def _targets(proto: onnx.ModelProto, arguments: ShareWeights) -> list[tuple[onnx.TensorProto, int]]:
    """Each tensor once, with its bits."""
    wanted = [(_CONVOLUTIONS, arguments.conv_bits), (graphs.LINEAR, arguments.linear_bits)]
    fed = {value.name for value in proto.graph.input}
    floats = {
        tensor.name: tensor
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in fed
    }
    targets = {}
    for op_types, bits in wanted:
        found = graphs.weighted(proto, op_types, _STEP, arguments.exclude_nodes, may_share=True, may_lack=True)
        for one in found:
            targets.setdefault(one.weight.name, (one.weight, bits))
            bias = floats.get(one.node.input[2]) if len(one.node.input) > 2 else None
            if bias is not None:
                targets.setdefault(bias.name, (bias, arguments.bias_bits))
    return [(tensor, bits) for tensor, bits in targets.values() if bits]


def _share(name: str, before: Floats, bits: int) -> Clustering:
    if not np.isfinite(before).all():
        raise NotApplied(f"{_STEP} cannot share the weight {name!r}: it holds NaN or infinity.")
    found = cluster(before.ravel(), 1 << bits)
    kept = (found.values() == 0) >= (before.ravel() == 0)
    if len(found.codebook) > 1 << bits or not kept.all():
        raise NotApplied(f"{_STEP} left {len(found.codebook)} values or lost zeros in {name!r}.")
    return found


def _put(graph: onnx.GraphProto, shared: dict[str, Clustering]) -> None:
    for tensor in graph.initializer:
        if tensor.name in shared:
            graphs.replace(tensor, shared[tensor.name].values().reshape(tensor.dims))


def _gather(graph: onnx.GraphProto, shared: dict[str, Clustering]) -> None:
    """Puts two nodes in front of the graph for each tensor; the second's output has the tensor's name."""
    nodes = []
    taken = graphs.names(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name in shared]:
        name, found = tensor.name, shared[tensor.name]
        indices = graphs.add(graph, f"{name}_indices", found.indices.reshape(tensor.dims))
        codebook = graphs.add(graph, f"{name}_codebook", found.codebook)
        wide = graphs.fresh(f"{name}_wide", taken)
        nodes += [
            onnx.helper.make_node("Cast", [indices], [wide], name=wide, to=onnx.TensorProto.INT32),
            onnx.helper.make_node("Gather", [codebook, wide], [name], name=graphs.fresh(f"{name}_shared", taken)),
        ]
        graph.initializer.remove(tensor)
    first = graph.node[0]
    graphs.put_nodes(graph, {first.name: [*nodes, first]})


def _assert_written(model: bytes, shared: dict[str, Clustering], form: str) -> None:
    graph = onnx.load_from_string(model).graph
    written = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    gathers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Gather"}
    for name, found in shared.items():
        values = written.get(name) if form == "values" else written.get(gathers.get(name, ""))
        if values is None or len(np.unique(values)) != len(found.codebook):
            raise NotApplied(f"{_STEP} did not leave {len(found.codebook)} values in {name!r}.")


TECHNIQUE = Technique(_STEP, ShareWeights, share_weights)
