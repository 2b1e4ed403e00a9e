"""Static int8 quantisation in QDQ form: weights and activations in 8 bits, scales fixed by a calibration set.

As the scales are fixed, a row's answer does not depend on its batch-mates. Built on onnxruntime's quantize_static.
For CPUs (the default): unsigned activations with signed weights, the pair that VNNI kernels take; a CPU without VNNI
may saturate in 16 bits, and its answers are then worse (`reduce_range` avoids it at the price of one bit).
For TensorRT (`TENSORRT`): everything signed and symmetric, which a CPU runs slower than float32.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from models.compress import graph as graphs
from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.technique import Material, Technique, later
from service.core.contract import Array, Arrays


@dataclass(frozen=True, slots=True)
class Int8Static:
    """Arguments of `int8_static`; each goes into the card.

    Attributes:
        calibrator: "MinMax", "Entropy" or "Percentile"; the latter two hold every activation in memory, and so look
            at `histogram_rows` only.
        per_channel: one scale an output channel of a weight, instead of one a weight.
        reduce_range: weights in 7 bits.
        activations: ONNX Runtime's name of their type.
        weights: likewise.
        op_types: what is quantised; at least one of them must occur.
        exclude_nodes: names of nodes that stay as they are.
        calibration_rows: rows a calibration batch.
        symmetric_activations: their zero points are 0, and with them every zero point, if types are signed.
        quantise_bias: biases as int32; TensorRT wants them in float32.
        percentile: share of the values, in percent, that "Percentile" takes into the range.
        histogram_rows: rows that "Entropy" and "Percentile" look at, at most: whole batches, evenly out of the set.
    """

    calibrator: str = "MinMax"
    per_channel: bool = True
    reduce_range: bool = False
    activations: str = "QUInt8"
    weights: str = "QInt8"
    op_types: tuple[str, ...] = ("Conv", "Gemm", "MatMul")
    exclude_nodes: tuple[str, ...] = ()
    calibration_rows: int = 50
    symmetric_activations: bool = later(False)
    quantise_bias: bool = later(True)
    percentile: float = later(99.999)
    histogram_rows: int = later(250)


TENSORRT = Int8Static(activations="QInt8", symmetric_activations=True, quantise_bias=False)


def int8_static(model: bytes, arguments: Int8Static, material: Material) -> bytes:
    """The model with quantised nodes.

    Args:
        model: a preprocessed ONNX file.
        arguments: how.
        material: with a calibration set.

    Raises:
        NoCalibration: there is no calibration set.
        NotApplied: an argument is not one, no node of these types occurs, one scale a channel cannot be had, nothing
            was quantised, a zero point is not 0 where it was to be, or the signature changed.
    """
    _refuse(arguments)
    proto = onnx.load_from_string(model)
    graphs.known_nodes(proto, arguments.exclude_nodes, "int8_static")
    graphs.refuse_hidden(proto, arguments.op_types, "int8_static", arguments.exclude_nodes)
    if not op_counts(model).keys() & set(arguments.op_types):
        raise NotApplied(f"int8_static finds no {', '.join(arguments.op_types)} to quantise.")
    if arguments.per_channel:
        graphs.refuse_old(proto, "int8_static")
        _refuse_both_axes(proto.graph, arguments.exclude_nodes)
    _flatten_biases(proto.graph)
    # The histograms' progress goes to the standard output, which belongs to the command line.
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        path = Path(folder) / "int8.onnx"
        quantize_static(
            proto,
            path,
            _Rows(_looked_at(material.rows("int8_static"), arguments), arguments.calibration_rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(arguments.op_types),
            per_channel=arguments.per_channel,
            reduce_range=arguments.reduce_range,
            activation_type=QuantType[arguments.activations],
            weight_type=QuantType[arguments.weights],
            nodes_to_exclude=list(arguments.exclude_nodes),
            calibrate_method=CalibrationMethod[arguments.calibrator],
            extra_options=_options(arguments),
        )
        quantised = onnx.load(path).SerializeToString(deterministic=True)
    _assert_quantised(model, quantised)
    if arguments.symmetric_activations:
        _assert_symmetric(quantised)
    same_signature(model, quantised, "int8_static")
    return quantised


def _refuse(arguments: Int8Static) -> None:
    for name, value, known in (
        ("calibrator", arguments.calibrator, ("MinMax", "Entropy", "Percentile")),
        ("activations", arguments.activations, ("QUInt8", "QInt8")),
        ("weights", arguments.weights, ("QUInt8", "QInt8")),
    ):
        if value not in known:
            raise NotApplied(f"int8_static takes {', '.join(known)} for {name}, not {value!r}.")
    if arguments.symmetric_activations and arguments.activations != "QInt8":
        raise NotApplied("int8_static makes activations symmetric around 0 only where their type is QInt8.")


def _refuse_both_axes(graph: onnx.GraphProto, exclude: Sequence[str]) -> None:
    """ONNX Runtime's integer kernels take scales along a product's rows for those of its columns, and answer wrong."""
    weights = {tensor.name for tensor in graph.initializer}
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in graphs.LINEAR or node.name in exclude or node.input[1] not in weights:
            continue
        turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        if axes.setdefault(node.input[1], int(not turned)) != int(not turned):
            raise NotApplied(
                f"int8_static cannot give the weight {node.input[1]!r} one scale a channel: nodes read it along "
                "different axes; per_channel: false does, or exclude_nodes of one side."
            )


def _flatten_biases(graph: onnx.GraphProto) -> None:
    """Of (1, N) to (N,), which is the same bias: ONNX Runtime's quantiser breaks off at the other form."""
    gemms = [node for node in graph.node if node.op_type == "Gemm" and len(node.input) > 2]
    uses = graphs.uses(graph)
    for tensor in graph.initializer:
        as_bias = sum(node.input[2] == tensor.name for node in gemms)
        if len(tensor.dims) == 2 and tensor.dims[0] == 1 and 0 < as_bias == uses[tensor.name]:
            del tensor.dims[0]


def _looked_at(arrays: Arrays, arguments: Int8Static) -> Arrays:
    n = len(next(iter(arrays.values())))
    if arguments.calibrator == "MinMax":
        return arrays
    kept = min(n, arguments.histogram_rows)
    # Histograms are made of arrays of one shape.
    kept -= kept % arguments.calibration_rows if kept > arguments.calibration_rows else 0
    rows = np.linspace(0, n - 1, kept).astype(np.int64)
    return {name: array[rows] for name, array in arrays.items()}


def _options(arguments: Int8Static) -> dict[str, Any]:
    """What quantize_static takes beside its arguments."""
    options: dict[str, Any] = {"QuantizeBias": arguments.quantise_bias}
    if arguments.symmetric_activations:
        options["ActivationSymmetric"] = options["CalibTensorRangeSymmetric"] = True
    if arguments.calibrator == "Percentile":
        options["CalibPercentile"] = arguments.percentile
    return options


def _assert_symmetric(after: bytes) -> None:
    graph = onnx.load_from_string(after).graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            points = onnx.numpy_helper.to_array(values[node.input[2]])
            if points.any():
                raise NotApplied(f"int8_static left node {node.name!r} a zero point other than 0.")


def _assert_quantised(before: bytes, after: bytes) -> None:
    counts = op_counts(after)
    if not counts.get("QuantizeLinear") or not counts.get("DequantizeLinear"):
        raise NotApplied("int8_static put no QuantizeLinear and DequantizeLinear into the graph.")
    weights = onnx.load_from_string(after).graph.initializer
    eight_bits = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    if not any(weight.data_type in eight_bits and weight.dims for weight in weights):
        raise NotApplied("int8_static left no weight in 8 bits.")
    if len(after) >= len(before):
        raise NotApplied(f"int8_static made the file larger: {len(before)} bytes became {len(after)}.")


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibration set in batches, once, as quantize_static wants it."""

    def __init__(self, arrays: Arrays, rows: int) -> None:
        self._batches = self._cut(arrays, rows)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)

    @staticmethod
    def _cut(arrays: Arrays, rows: int) -> Iterator[dict[str, Any]]:
        n = len(next(iter(arrays.values())))
        for start in range(0, n, rows):
            yield {name: array[start : start + rows] for name, array in arrays.items()}


TECHNIQUE = Technique("int8_static", Int8Static, int8_static)
