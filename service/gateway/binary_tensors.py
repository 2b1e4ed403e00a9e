"""A tensor's binary form: little-endian, row-major, a BYTES element behind its 4-byte length.

Source: Triton's binary tensor data extension. An array read from a body is a view of it wherever alignment allows,
so it is read-only. Knows one tensor at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

import numpy as np

from service.core.contract import DTYPES, Array
from service.core.errors import BadInput
from service.gateway.quote import quote

_LENGTH = struct.Struct("<I")
_SMALL_BYTES = 16 << 10  # quicker copied than viewed


def array_at(
    body: bytes | memoryview, offset: int, size_bytes: int, shape: Sequence[int], datatype: str, name: str
) -> Array:
    """The array whose bytes are `body[offset:offset + size_bytes]`, which lie inside `body`.

    Args:
        body: the whole request body.
        offset: where the tensor begins, in bytes.
        size_bytes: how long it is.
        shape: non-negative integers.
        datatype: a key of `DTYPES`.
        name: the input's, for messages.

    Returns:
        C-contiguous and aligned; read-only where it is a view; BYTES as an object array of `bytes`.

    Raises:
        BadInput: `shape` asks for another number of bytes, or an element is none of the datatype.
    """
    if datatype == "BYTES":
        return _elements(memoryview(body)[offset : offset + size_bytes], prod(shape), name).reshape(shape)
    dtype = DTYPES[datatype]
    count = prod(shape)
    expected = count * dtype.itemsize
    if expected != size_bytes:
        raise BadInput(f"input {quote(name)} has {size_bytes} bytes of binary data, its shape asks for {expected}")
    if datatype == "BOOL":
        return _booleans(np.frombuffer(body, np.uint8, count, offset), name).reshape(shape)
    array = np.frombuffer(body, dtype, count, offset).reshape(shape)
    return array if array.flags.aligned else array.copy()


def bytes_of(array: Array) -> bytes | memoryview:
    """The wire's bytes of an output, without a copy where it is large and already lies so."""
    if array.dtype.kind == "O":
        return b"".join(part for element in array.reshape(-1) for part in (_LENGTH.pack(len(element)), element))
    if array.nbytes <= _SMALL_BYTES:
        return array.tobytes()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _booleans(octets: Array, name: str) -> Array:
    if octets.size and octets.max() > 1:
        raise BadInput(f"input {quote(name)} is BOOL and has a byte other than 0 and 1")
    return octets.view(np.bool_)


def _elements(blob: memoryview, count: int, name: str) -> Array:
    if count * _LENGTH.size > len(blob):
        raise BadInput(f"input {quote(name)} has {len(blob)} bytes, too few for {count} BYTES elements")
    elements = np.empty(count, dtype=np.object_)
    at = 0
    for index in range(count):
        begin = at + _LENGTH.size
        if begin > len(blob):
            raise BadInput(f"input {quote(name)} ends inside the length of element {index}")
        at = begin + _LENGTH.unpack_from(blob, at)[0]
        if at > len(blob):
            raise BadInput(f"input {quote(name)} ends inside element {index}")
        elements[index] = bytes(blob[begin:at])
    if at != len(blob):
        raise BadInput(f"input {quote(name)} has {len(blob) - at} bytes after its last element")
    return elements
