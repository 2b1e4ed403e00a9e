"""Static int8 quantisation in QDQ form: weights and activations in 8 bits, scales fixed by a calibration set.

As the scales are fixed, a row's answer does not depend on its batch-mates. Built on onnxruntime's quantize_static.
For CPUs: unsigned activations with signed weights, the pair that VNNI kernels take; a CPU without VNNI may saturate
in 16 bits, and its answers are then worse (`reduce_range` avoids it at the price of one bit).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from models.compress.checks import NotApplied, op_counts, same_signature
from models.compress.technique import Material, Technique
from service.core.contract import Array, Arrays


@dataclass(frozen=True, slots=True)
class Int8Static:
    """Arguments of `int8_static`; each goes into the card.

    Attributes:
        calibrator: "MinMax", "Entropy" or "Percentile"; the latter two hold every activation in memory.
        per_channel: one scale an output channel of a weight, instead of one a weight.
        reduce_range: weights in 7 bits.
        activations: ONNX Runtime's name of their type.
        weights: likewise.
        op_types: what is quantised; at least one of them must occur.
        exclude_nodes: names of nodes that stay as they are.
        calibration_rows: rows a calibration batch.
    """

    calibrator: str = "MinMax"
    per_channel: bool = True
    reduce_range: bool = False
    activations: str = "QUInt8"
    weights: str = "QInt8"
    op_types: tuple[str, ...] = ("Conv", "Gemm", "MatMul")
    exclude_nodes: tuple[str, ...] = ()
    calibration_rows: int = 50


def int8_static(model: bytes, arguments: Int8Static, material: Material) -> bytes:
    """The model with quantised nodes.

    Args:
        model: a preprocessed ONNX file.
        arguments: how.
        material: with a calibration set.

    Raises:
        NoCalibration: there is no calibration set.
        NotApplied: no node of these types occurs, nothing was quantised, or the signature changed.
    """
    if not op_counts(model).keys() & set(arguments.op_types):
        raise NotApplied(f"int8_static finds no {', '.join(arguments.op_types)} to quantise.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(model),
            path,
            _Rows(material.rows("int8_static"), arguments.calibration_rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(arguments.op_types),
            per_channel=arguments.per_channel,
            reduce_range=arguments.reduce_range,
            activation_type=QuantType[arguments.activations],
            weight_type=QuantType[arguments.weights],
            nodes_to_exclude=list(arguments.exclude_nodes),
            calibrate_method=CalibrationMethod[arguments.calibrator],
        )
        quantised = onnx.load(path).SerializeToString(deterministic=True)
    _assert_quantised(model, quantised)
    same_signature(model, quantised, "int8_static")
    return quantised


def _assert_quantised(before: bytes, after: bytes) -> None:
    counts = op_counts(after)
    if not counts.get("QuantizeLinear") or not counts.get("DequantizeLinear"):
        raise NotApplied("int8_static put no QuantizeLinear and DequantizeLinear into the graph.")
    weights = onnx.load_from_string(after).graph.initializer
    if not any(weight.data_type == onnx.TensorProto.INT8 for weight in weights):
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
