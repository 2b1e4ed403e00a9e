"""What can be read off a version's files without running them: graph, hashes, sizes, and who made it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models.compress.checks import op_counts
from service.repository.card import FileEntry, Graph, Producer

_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
_PACKED = "MatMulNBits"
LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "scikit-learn", "torch")


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def file_entries(files: Mapping[str, bytes]) -> dict[str, FileEntry]:
    """The card's `files`, of file name -> content."""
    return {name: FileEntry(sha256=sha256(data), bytes=len(data)) for name, data in sorted(files.items())}


def graph(model: bytes, *, parent: bytes | None = None, needs: tuple[str, ...] = ()) -> Graph:
    """The card's `graph`; parameters are the numbers in weights, without scales, zero points and shapes."""
    proto = onnx.load_from_string(model)
    weights = _weights(proto.graph)
    return Graph(
        opset={entry.domain: entry.version for entry in proto.opset_import},
        op_counts=op_counts(model),
        parent_op_counts=op_counts(parent) if parent is not None else None,
        parameters=sum(w.size for w in weights),
        non_zero_parameters=sum(int(np.count_nonzero(w)) for w in weights),
        needs=needs,
    )


def producer() -> Producer:
    """The workshop's version, the versions of the libraries that are installed, and the kind of machine."""
    libraries = {name: version for name in LIBRARIES if (version := _version(name))}
    return Producer(retort=_version("retort") or "unknown", libraries=libraries, machine=_machine())


def _weights(main: onnx.GraphProto) -> list[NDArray[Any]]:
    """Initializers that are learnt: not int64, which shapes and axes are, and no scale or zero point."""
    packed = {node.input[1]: node for node in main.node if node.op_type == _PACKED}
    scales = {name for node in main.node if node.op_type in _QUANTISERS for name in node.input[1:]}
    scales |= {name for node in packed.values() for name in node.input[2:4]}
    learnt = [w for w in main.initializer if w.name not in scales and w.data_type != onnx.TensorProto.INT64]
    of_name = {w.name: w for w in main.initializer}
    return [_unpacked(packed[w.name], of_name) if w.name in packed else numpy_helper.to_array(w) for w in learnt]


def _unpacked(node: onnx.NodeProto, of_name: Mapping[str, onnx.TensorProto]) -> NDArray[Any]:
    """The weight of a MatMulNBits, whose bytes hold several numbers each: (N, K), 0 where the weight is 0."""
    told = {attribute.name: attribute.i for attribute in node.attribute}
    rows, bits, block = told["N"], told.get("bits", 4), told["block_size"]
    values = _numbers(numpy_helper.to_array(of_name[node.input[1]]).reshape(rows, -1), bits)
    points = np.full((rows, values.shape[1] // block), 1 << (bits - 1))
    if len(node.input) > 3 and node.input[3]:
        points = _numbers(numpy_helper.to_array(of_name[node.input[3]]).reshape(rows, -1), bits)[:, : points.shape[1]]
    return np.asarray(values - points.repeat(block, axis=1))[:, : told["K"]]


def _numbers(data: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """Of bytes (n, m), those of `bits` bits each that they hold, the lowest bits first: (n, m * 8 / bits)."""
    wide = data.astype(np.int64)[:, :, np.newaxis] >> np.arange(0, 8, bits)
    return np.asarray(wide & ((1 << bits) - 1)).reshape(len(data), -1)


def _version(distribution: str) -> str:
    candidates = (distribution, f"{distribution}-gpu") if distribution == "onnxruntime" else (distribution,)
    for candidate in candidates:
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()} {next(named, '')}".strip()
