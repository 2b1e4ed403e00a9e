"""Dynamic int8: weights in 8 bits, activations quantised at each run with a scale over the whole tensor.

No calibration. As the scale is the batch's, a row's answer depends on its batch-mates: such a version is served row
by row. `int8_per_row` is the form without that tie. Never for convolutions, which run 12 times slower than in
float32. Built on onnxruntime's quantize_dynamic.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from models.compress import graph as graphs
from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.gemm_to_matmul import gemm_to_matmul
from models.compress.technique import Material, Technique

_STEP = "int8_dynamic"
# What each type of node becomes.
_BECOMES: Mapping[str, str] = MappingProxyType(
    {
        "Gemm": "MatMulInteger",
        "MatMul": "MatMulInteger",
        "Attention": "QAttention",
        "LSTM": "DynamicQuantizeLSTM",
        "Gather": "DequantizeLinear",
    }
)


@dataclass(frozen=True, slots=True)
class Int8Dynamic:
    """Arguments of `int8_dynamic`; each goes into the card.

    Attributes:
        op_types: what is quantised; Gemm becomes MatMul and Add first. Of Gather only tables of float32 are.
        per_channel: one scale an output channel of a weight, instead of one a weight.
        reduce_range: weights in 7 bits, for CPUs without VNNI.
        exclude_nodes: names of nodes that stay as they are.
    """

    op_types: tuple[str, ...] = ("Gemm", "MatMul", "Attention", "LSTM", "Gather")
    per_channel: bool = True
    reduce_range: bool = False
    exclude_nodes: tuple[str, ...] = ()


def int8_dynamic(model: bytes, arguments: Int8Dynamic, material: Material | None = None) -> bytes:
    """The model with quantised nodes; no material is looked at.

    Raises:
        NotApplied: a type is not among those of the default, none occurs, one was not quantised, or the file grew.
    """
    if unknown := sorted(set(arguments.op_types) - set(_BECOMES)):
        raise NotApplied(f"{_STEP} quantises {', '.join(_BECOMES)} and not {unknown[0]}.")
    proto = graphs.read(model, _STEP)
    wanted = _wanted(proto, arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            proto,
            path,
            op_types_to_quantize=sorted(set(wanted.values())),
            per_channel=arguments.per_channel,
            reduce_range=arguments.reduce_range,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(wanted),
        )
        quantised = onnx.load(path).SerializeToString(deterministic=True)
    _assert_quantised(model, quantised, list(wanted.values()))
    same_signature(model, quantised, _STEP)
    return quantised


def _wanted(proto: onnx.ModelProto, arguments: Int8Dynamic) -> dict[str, str]:
    """The nodes to quantise, name -> type, after Gemm was turned into MatMul."""
    graphs.known_nodes(proto, arguments.exclude_nodes, _STEP)
    # Gather is everywhere, and mostly not a look-up in a table of weights.
    layers = [op_type for op_type in arguments.op_types if op_type != "Gather"]
    graphs.refuse_hidden(proto, layers, _STEP, arguments.exclude_nodes)
    linear = [op_type for op_type in arguments.op_types if op_type in graphs.LINEAR]
    found = graphs.weighted(proto, linear, _STEP, arguments.exclude_nodes, may_share=True, may_lack=True)
    gemm_to_matmul(proto, found)
    wanted = {one.node.name: "MatMul" for one in found}
    others = set(arguments.op_types) - set(graphs.LINEAR)
    weights = {tensor.name for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    for node in proto.graph.node:
        held = weights.intersection(node.input[:1] if node.op_type == "Gather" else node.input[1:2])
        if held and node.op_type in others and node.name not in arguments.exclude_nodes:
            wanted[node.name] = node.op_type
    if not wanted:
        raise NotApplied(f"{_STEP} finds no {', '.join(arguments.op_types)} with a constant float32 weight.")
    return wanted


def _assert_quantised(before: bytes, after: bytes, wanted: list[str]) -> None:
    counts, earlier = op_counts(after), op_counts(before)
    for op_type, became in _BECOMES.items():
        made = counts.get(became, 0) - earlier.get(became, 0)
        if made < wanted.count(op_type):
            raise NotApplied(f"{_STEP} made {made} {became} of {wanted.count(op_type)} {op_type}.")
    if len(after) >= len(before):
        raise NotApplied(f"{_STEP} made the file larger: {len(before)} bytes became {len(after)}.")


TECHNIQUE = Technique("int8_dynamic", Int8Dynamic, int8_dynamic)
