"""Weights and arithmetic in float16, inputs and outputs as they were: half the file, speed on GPUs only.

What float16 cannot hold stays in float32, and the runtime casts around it: operators that lack a float16 form, nodes
with a weight beyond 65504, and, where there is a calibration set, nodes that read or give a larger activation on it.
On a CPU ONNX Runtime computes in float32 all the same. Built on onnxruntime.transformers.float16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnxruntime.transformers import float16

from models.bounded import BoundedRunner
from models.compress import graph as graphs
from models.compress.checks import NotApplied, same_signature
from models.compress.technique import Material, Technique
from service.core.contract import Arrays
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

_STEP = "fp16"
LARGEST = float(np.finfo(np.float16).max)
_LOOKED_AT_ROWS = 64


@dataclass(frozen=True, slots=True)
class Fp16:
    """Arguments of `fp16`; each goes into the card.

    Attributes:
        block_op_types: types of nodes that stay in float32, beside those that have no float16 form.
        exclude_nodes: names of nodes that stay in float32.
    """

    block_op_types: tuple[str, ...] = ()
    exclude_nodes: tuple[str, ...] = ()


def fp16(model: bytes, arguments: Fp16, material: Material) -> bytes:
    """The model in float16, with inputs and outputs in their own types.

    Args:
        model: an ONNX file.
        arguments: what stays in float32.
        material: its calibration set, if there is one, shows which activations float16 cannot hold.

    Raises:
        NotApplied: no weight is in float16 afterwards, an answer on the calibration set is not finite that was, or
            the signature changed.
    """
    proto = graphs.read(model, _STEP)
    graphs.known_nodes(proto, arguments.exclude_nodes, _STEP)
    blocked = {*arguments.exclude_nodes, *_with_large_weights(proto.graph)}
    rows = None if material.calibration is None else _few(proto, material.calibration)
    if rows is not None:
        blocked |= _with_large_activations(proto, rows)
    converted = float16.convert_float_to_float16(
        proto,
        keep_io_types=True,
        op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *arguments.block_op_types],
        node_block_list=sorted(blocked),
    )
    _join(converted.graph)
    result = graphs.write(converted)
    _assert_halved(model, result)
    same_signature(model, result, _STEP)
    if rows is not None:
        _assert_finite(model, result, rows)
    return result


def _join(graph: onnx.GraphProto) -> None:
    """Lets neighbours that stay in float32 read each other: the converter puts float16 between them, which overflows.

    The same at the ends: an input that a node reads in float32, an output that one gives. The names are those that
    the converter gives to what it adds.
    """
    down = {node.output[0]: node.input[0] for node in graph.node if _is_cast(node, "graph_input_cast", "fp16")}
    for node in graph.node:
        if _is_cast(node, "graph_output_cast", "fp32") and node.input[0] in down:
            node.CopyFrom(onnx.helper.make_node("Identity", [down[node.input[0]]], node.output, name=node.name))
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    graphs.put_nodes(graph, {node.name: [] for node in graph.node if not used.intersection(node.output)})


def _is_cast(node: onnx.NodeProto, at_an_end: str, between: str) -> bool:
    added = node.name.startswith(at_an_end) or node.name.endswith(f"_cast_to_{between}_node")
    return node.op_type == "Cast" and added


def _with_large_weights(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes that hold a finite number which float16 does not."""
    large = {tensor.name for tensor in graph.initializer if _is_large(tensor)}
    return {node.name for node in graph.node if large.intersection(node.input)}


def _is_large(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    array = onnx.numpy_helper.to_array(tensor)
    return bool((np.abs(array[np.isfinite(array)]) > LARGEST).any())


def _with_large_activations(proto: onnx.ModelProto, rows: Arrays) -> set[str]:
    """Names of the nodes that read or give a number on these rows which float16 cannot hold."""
    shown = onnx.shape_inference.infer_shapes(proto)
    made = {name for node in shown.graph.node for name in node.output} - {value.name for value in shown.graph.output}
    floats = [info for info in shown.graph.value_info if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    shown.graph.output.extend(info for info in floats if info.name in made)
    answers = _answers(shown.SerializeToString(), rows)
    large = {name for name, array in {**rows, **answers}.items() if _overflows(array)}
    return {node.name for node in proto.graph.node if large.intersection([*node.input, *node.output])}


def _overflows(array: np.ndarray) -> bool:  # type: ignore[type-arg]
    return array.dtype.kind == "f" and bool((np.abs(array[np.isfinite(array)]) > LARGEST).any())


def _answers(model: bytes, rows: Arrays) -> Arrays:
    runner = BoundedRunner(OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1)))
    try:
        return runner.run(rows)
    finally:
        runner.close()


def _few(proto: onnx.ModelProto, rows: Arrays) -> Arrays:
    """The first rows, as many as a run takes."""
    fixed = [_rows_of(value) for value in proto.graph.input if value.name in rows]
    return {name: array[: min(filter(None, fixed), default=_LOOKED_AT_ROWS)] for name, array in rows.items()}


def _rows_of(value: onnx.ValueInfoProto) -> int:
    """The first axis of an input; 0 where it is not fixed."""
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else 0


def _assert_halved(before: bytes, after: bytes) -> None:
    weights = onnx.load_from_string(after).graph.initializer
    if not any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in weights):
        raise NotApplied(f"{_STEP} left no weight in float16.")
    if len(after) >= len(before):
        raise NotApplied(f"{_STEP} made the file larger: {len(before)} bytes became {len(after)}.")


def _assert_finite(before: bytes, after: bytes, rows: Arrays) -> None:
    earlier = _answers(before, rows)
    for name, array in _answers(after, rows).items():
        if array.dtype.kind == "f" and np.isfinite(earlier[name]).all() and not np.isfinite(array).all():
            raise NotApplied(f"{_STEP} gave output {name!r} numbers that are not finite on the calibration set.")


TECHNIQUE = Technique("fp16", Fp16, fp16)
