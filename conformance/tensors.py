"""Tensors as the protocol writes them: made up from metadata, packed and read; shares no code with any server.

The same metadata gives the same values. Variable dimensions become 1. Source: "Tensor Data" and "Tensor Data Types"
of the protocol; Triton's binary tensor data extension.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: Mapping[str, str] = {
    "BOOL": "?",
    **{f"{sign}INT{bits}": f"<{code}{bits // 8}" for sign, code in (("", "i"), ("U", "u")) for bits in (8, 16, 32, 64)},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
DATATYPES = frozenset({*DTYPES, "BF16"})


def make_up(name: str, datatype: str, shape: Sequence[int]) -> Array:
    """Values for one input: floats normal, integers 0 or 1, texts "0"."""
    sizes = [1 if size < 0 else size for size in shape]
    if datatype == "BYTES":
        texts: Array = np.full(sizes, b"0", dtype=np.object_)
        return texts
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "f":
        return np.asarray(generator.standard_normal(sizes)).astype(dtype)
    return np.asarray(generator.integers(0, 2, size=sizes)).astype(dtype)


def listed(array: Array, *, nested: bool = False) -> list[Any]:
    """The JSON `data` of a tensor."""
    if array.dtype == np.object_:
        texts = np.asarray([element.decode() for element in array.ravel()], dtype=np.object_).reshape(array.shape)
        return list(texts.tolist() if nested and array.ndim else texts.ravel().tolist())
    return list(array.tolist() if nested and array.ndim else array.ravel().tolist())


def pack(array: Array) -> bytes:
    """The binary form of a tensor."""
    if array.dtype != np.object_:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(element)) + element for element in array.ravel())


def unpack(blob: bytes, datatype: str, shape: Sequence[int]) -> Array:
    """The tensor of a binary form; raises ValueError where the bytes do not fit."""
    if datatype != "BYTES":
        return np.frombuffer(blob, DTYPES[datatype]).reshape(shape)
    elements, at = [], 0
    while at < len(blob):
        (size,) = struct.unpack_from("<I", blob, at)
        elements.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return _objects(elements, shape)


def of_json(data: Any, datatype: str, shape: Sequence[int]) -> Array:
    """The tensor of a JSON `data`, flat or nested; raises ValueError where it does not fit."""
    if datatype != "BYTES":
        return np.asarray(data, dtype=DTYPES[datatype]).reshape(shape)
    return _objects([str(text).encode() for text in np.asarray(data, dtype=np.object_).ravel()], shape)


def agree(one: Array, other: Array) -> bool:
    """Whether two answers to one request are the same but for the rounding of a decimal form."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True))


def _objects(elements: list[bytes], shape: Sequence[int]) -> Array:
    array: Array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    return array.reshape(shape)
