"""What is measured: a network of ResNet-18's size and a tiny one, each in the precisions of the workshop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.compress.fp16 import Fp16, fp16
from models.compress.int8_static import TENSORRT, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from service.core.contract import Arrays
from tests.bench import tiny
from tests.bench.workload import residual_network

NAMES = ("resnet18", "tiny")
_CALIBRATION_ROWS = 16


class Network(NamedTuple):
    """One file.

    Attributes:
        name: of the network.
        precision: "fp32", "fp16" or "int8", whose scales are symmetric, as TensorRT wants them.
        onnx: the file.
        rows: inputs of 32 rows.
        tolerance: how far answers may lie from the CPU's, as a share of the largest; of fp32 with room for TF32, which
            TensorRT takes by itself.
    """

    name: str
    precision: str
    onnx: bytes
    rows: Arrays
    tolerance: float


def networks(folder: Path, side: int = 224, most_rows: int = 32) -> Iterator[Network]:
    """Each network in each precision, made here.

    Args:
        folder: for files in between.
        side: of the large network's images.
        most_rows: rows of its inputs.
    """
    tiny.write_repository(folder)
    images = np.random.default_rng(3).standard_normal((most_rows, 3, side, side), dtype=np.float32)
    yield from _in_each_precision(NAMES[0], residual_network(side).SerializeToString(), {"image": images})
    onnx = (folder / "tiny" / "1" / "model.onnx").read_bytes()
    yield from _in_each_precision(NAMES[1], onnx, {"x": tiny.rows(most_rows)})


def _in_each_precision(name: str, onnx: bytes, rows: Arrays) -> Iterator[Network]:
    yield Network(name, "fp32", onnx, rows, 2e-3)
    ready = preprocess(onnx, Preprocess())
    yield Network(name, "fp16", fp16(ready, Fp16(), Material()), rows, 2e-2)
    calibration = {given: array[:_CALIBRATION_ROWS] for given, array in rows.items()}
    yield Network(name, "int8", int8_static(ready, TENSORRT, Material(calibration)), rows, 5e-2)
