"""Dynamic int8 for linear layers, with one scale a row: what `int8_dynamic` is, without its tie between batch-mates.

Each row is divided by its own largest magnitude and then quantised with a fixed scale, so that its answer is the same
in any company. Only operators of the ONNX standard; unsigned activations with signed weights, the pair that VNNI
kernels take. No calibration. One scale a row and one a column: Dettmers et al. 2022, "LLM.int8()", section 2;
Yao et al. 2022, "ZeroQuant", section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from models.compress import graph as graphs
from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.embeddings import quantise_tables, tables
from models.compress.gemm_to_matmul import gemm_to_matmul
from models.compress.technique import Material, Technique

_STEP = "int8_per_row"
_ACTIVATION_STEPS = 127
_ZERO_POINT = 128
# Where a row is all zeros: small enough to change no other row, large enough to divide by.
_LEAST_MAGNITUDE = 1e-30
_AXES_ARE_AN_INPUT = 18


@dataclass(frozen=True, slots=True)
class Int8PerRow:
    """Arguments of `int8_per_row`; each goes into the card.

    Attributes:
        reduce_range: weights in 7 bits, for CPUs without VNNI, whose kernels saturate in 16 bits.
        embeddings: tables of look-ups in 8 bits too, with one scale a row of the table.
        exclude_nodes: names of nodes that stay as they are.
    """

    reduce_range: bool = False
    embeddings: bool = True
    exclude_nodes: tuple[str, ...] = ()


def int8_per_row(model: bytes, arguments: Int8PerRow, material: Material | None = None) -> bytes:
    """The model with every MatMul and Gemm of a constant weight in 8 bits; no material is looked at.

    Raises:
        NotApplied: there is none, one cannot be changed, or the file grew.
    """
    proto = graphs.read(model, _STEP)
    found = graphs.weighted(proto, graphs.LINEAR, _STEP, arguments.exclude_nodes, may_share=True)
    gemm_to_matmul(proto, found)
    if arguments.embeddings:
        quantise_tables(proto, tables(proto, arguments.exclude_nodes))
    products = {one.node.name for one in found}
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    inner = [graphs.Weighted(node, weights[node.input[1]]) for node in proto.graph.node if node.name in products]
    _rewrite(proto, inner, 63 if arguments.reduce_range else 127)
    result = graphs.write(proto)
    made = op_counts(result).get("MatMulInteger", 0) - op_counts(model).get("MatMulInteger", 0)
    if made != len(found):
        raise NotApplied(f"{_STEP} made {made} MatMulInteger of {len(found)} weights.")
    if len(result) >= len(model):
        raise NotApplied(f"{_STEP} made the file larger: {len(model)} bytes became {len(result)}.")
    same_signature(model, result, _STEP)
    return result


def _rewrite(proto: onnx.ModelProto, products: list[graphs.Weighted], weight_steps: int) -> None:
    shared = _Shared(proto, weight_steps)
    instead = {}
    for product in products:
        rows = product.node.input[0]
        before = [] if rows in shared.rows else shared.quantise(rows)
        instead[product.node.name] = before + _product(product, shared)
    graphs.put_nodes(proto.graph, instead)


class _Shared:
    """What several products share: constants, tied weights, and rows that are quantised (query, key and value)."""

    def __init__(self, proto: onnx.ModelProto, weight_steps: int) -> None:
        graph = proto.graph
        self._graph = graph
        self._weight_steps = weight_steps
        self._weights: dict[str, tuple[str, str]] = {}
        self._taken = graphs.names(graph)
        self.rows: dict[str, tuple[str, str]] = {}
        self._least = graphs.add(graph, "per_row_least", np.array(_LEAST_MAGNITUDE, dtype=np.float32))
        self._step = graphs.add(graph, "per_row_step", np.array(1 / _ACTIVATION_STEPS, dtype=np.float32))
        self.zero_point = graphs.add(graph, "per_row_zero_point", np.array(_ZERO_POINT, dtype=np.uint8))
        as_input = graphs.opset(proto) >= _AXES_ARE_AN_INPUT
        self._axes = [graphs.add(graph, "per_row_axes", np.array([-1]))] if as_input else []
        self._told = {} if as_input else {"axes": [-1]}

    def quantise(self, rows: str) -> list[onnx.NodeProto]:
        """Nodes that give `rows` in 8 bits, and each row's magnitude; their names are then in `self.rows`."""
        steps = ("magnitudes", "largest", "scale", "even", "int8")
        magnitudes, largest, scale, even, int8 = (self.name(f"{rows}_{step}") for step in steps)
        self.rows[rows] = int8, scale
        nodes = [
            helper.make_node("Abs", [rows], [magnitudes]),
            helper.make_node("ReduceMax", [magnitudes, *self._axes], [largest], keepdims=1, **self._told),
            helper.make_node("Max", [largest, self._least], [scale]),
            helper.make_node("Div", [rows, scale], [even]),
            helper.make_node("QuantizeLinear", [even, self._step, self.zero_point], [int8]),
        ]
        return _named(nodes)

    def name(self, wanted: str) -> str:
        """A name that no tensor has, and that nobody gets a second time."""
        name = graphs.fresh(wanted, self._taken)
        self._taken.add(name)
        return name

    def weight(self, product: graphs.Weighted) -> tuple[str, str]:
        """The names of a weight in 8 bits, and of what takes the products back to float32, one number a column."""
        name, steps = product.weight.name, self._weight_steps
        if name not in self._weights:
            array = product.array()
            scales = np.maximum(np.abs(array).max(axis=0) / steps, np.finfo(np.float32).tiny)
            int8 = np.clip(np.rint(array / scales), -steps, steps).astype(np.int8)
            back = (scales / _ACTIVATION_STEPS).astype(np.float32)
            self._weights[name] = (
                graphs.add(self._graph, f"{name}_int8", int8),
                graphs.add(self._graph, f"{name}_scales", back),
            )
        return self._weights[name]


def _product(product: graphs.Weighted, shared: _Shared) -> list[onnx.NodeProto]:
    """MatMulInteger, and the way back to float32."""
    int8, back = shared.weight(product)
    rows, row_scale = shared.rows[product.node.input[0]]
    output = product.node.output[0]
    whole, real, even = (shared.name(f"{output}_{step}") for step in ("int32", "float", "even"))
    nodes = [
        helper.make_node("MatMulInteger", [rows, int8, shared.zero_point], [whole]),
        helper.make_node("Cast", [whole], [real], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [real, back], [even]),
        helper.make_node("Mul", [even, row_scale], [output]),
    ]
    nodes = _named(nodes)
    nodes[0].name = product.node.name
    return nodes


def _named(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    for node in nodes:
        node.name = f"{node.op_type}_{node.output[0]}"
    return nodes


TECHNIQUE = Technique("int8_per_row", Int8PerRow, int8_per_row)
