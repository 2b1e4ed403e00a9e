"""Reads golden.npz: recorded inputs and outputs that a load must reproduce.

Runs no pickle, and holds every declared size against a limit before it decodes anything. Knows nothing of models.
"""

from __future__ import annotations

import ast
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Any

import numpy as np

from service.core.contract import DATATYPES, Array
from service.core.errors import BadModel
from service.repository.suggest import quoted

GOLDEN_LIMIT_BYTES = 64 << 20
DECODED_LIMIT_BYTES = 256 << 20
_MEMBERS_LIMIT = 256
# An element of an object array costs some fifty bytes, however short its text.
_STRINGS_LIMIT = 1 << 20
_HEADER_LIMIT = 10_000
_DIRECTORY_ENTRY = b"PK\x01\x02"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_NPY_MAGIC = b"\x93NUMPY"
_HEADER_START_BYTES = 8
# What the standard library's zip reader, literal_eval and numpy raise on bytes that they cannot read.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, TypeError, LookupError, SyntaxError, ArithmeticError, RuntimeError, MemoryError),
)


@dataclass(frozen=True, slots=True)
class Golden:
    """Recorded cases: row `i` of every input belongs to row `i` of every output.

    Attributes:
        inputs: name -> array of shape (rows, ...); numeric, bool, or object arrays of `bytes`.
        outputs: the same, as the version answered when it was made.
        rows: at least 1.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    rows: int


def read_golden(data: bytes) -> Golden:
    """Reads the bytes of golden.npz: members `input/<name>.npy` and `output/<name>.npy`, rows on axis 0.

    Raises:
        BadModel: not such a file, damaged, over a limit, of a type that no tensor has, or with unequal rows.
    """
    if data.count(_DIRECTORY_ENTRY) > _MEMBERS_LIMIT:
        raise BadModel(f"golden.npz has more than {_MEMBERS_LIMIT} arrays.")
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            _check_directory(archive.infolist())
            arrays = {info.filename.removesuffix(".npy"): _read_member(archive, info) for info in archive.infolist()}
    except _BROKEN:
        raise BadModel("golden.npz is not a numpy archive or is damaged.") from None
    inputs = _side(arrays, "input/")
    outputs = _side(arrays, "output/")
    rows = {array.shape[0] for array in arrays.values()}
    if not inputs or not outputs or len(rows) != 1 or rows == {0}:
        raise BadModel("golden.npz must hold inputs and outputs with the same number of rows, at least 1.")
    return Golden(inputs, outputs, rows.pop())


def _side(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check_directory(members: list[zipfile.ZipInfo]) -> None:
    names = {info.filename for info in members}
    for name in names:
        side, _, tensor = name.removesuffix(".npy").partition("/")
        if side not in ("input", "output") or not tensor or not name.endswith(".npy"):
            raise BadModel(f"golden.npz has an array {quoted(name)} that is neither input/<name> nor output/<name>.")
    if len(names) != len(members):
        raise BadModel("golden.npz has two arrays of one name.")
    if any(info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED for info in members):
        raise BadModel("golden.npz is encrypted, or packed by another method than deflate.")
    decoded_bytes = sum(info.file_size for info in members)
    if decoded_bytes > DECODED_LIMIT_BYTES:
        raise BadModel(f"golden.npz decodes to {decoded_bytes} bytes, more than the limit of {DECODED_LIMIT_BYTES}.")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as file:
        shape, fortran_order, dtype = _read_header(file)
        elements = math.prod(shape)
        strings = dtype.kind in "SU" and dtype.isnative
        if not shape or min(shape) < 0 or dtype.hasobject or not (strings or dtype in DATATYPES):
            raise BadModel(f"golden.npz: {quoted(info.filename)} has no rows, or a type that no tensor has.")
        if strings and elements > _STRINGS_LIMIT:
            raise BadModel(f"golden.npz: {quoted(info.filename)} has more than {_STRINGS_LIMIT} strings.")
        # The member's size is within the limit, so an array of no more than that is as well.
        size_bytes = elements * dtype.itemsize
        content = file.read(size_bytes + 1) if size_bytes <= info.file_size else b""
    if len(content) != size_bytes:
        raise BadModel(f"golden.npz: {quoted(info.filename)} declares {size_bytes} bytes and holds another number.")
    array = np.ndarray(shape, dtype, content, order="F" if fortran_order else "C")
    return _to_bytes(array) if strings else array.copy(order="C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    # Not numpy's own reader: it repairs headers of Python 2 with a tokenizer, and warns, and fails in many ways.
    start = file.read(_HEADER_START_BYTES)
    length_bytes = {1: 2, 2: 4}.get(start[6], 0) if start.startswith(_NPY_MAGIC) else 0
    length = int.from_bytes(file.read(length_bytes), "little")
    if not 0 < length <= _HEADER_LIMIT:
        raise ValueError("no npy header")
    header = ast.literal_eval(file.read(length).decode("latin1").strip())
    shape, descr = header["shape"], header["descr"]
    if not (isinstance(descr, str) and isinstance(shape, tuple) and all(type(dim) is int for dim in shape)):
        raise ValueError("no plain array")
    return shape, bool(header["fortran_order"]), np.dtype(descr)


def _to_bytes(array: Array) -> Array:
    if array.dtype.kind == "U":
        # numpy holds code points unchecked, and fails badly on those that there are not.
        if array.itemsize and array.ravel().view(np.uint32).max(initial=0) > sys.maxunicode:
            raise ValueError("no text")
        array = np.strings.encode(array, "utf-8")
    return np.array(array.astype(np.object_), order="C")
