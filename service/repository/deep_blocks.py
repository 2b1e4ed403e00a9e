"""Decodes one block of a model.deep file: the bytes of one tensor, deflated, as indices, or as gaps between values.

Whatever a block's head says is held against what its streams can hold before memory is taken for it.
Knows nothing of the file around the block, nor of tensors' types: an element is a pattern of 1, 2, 4 or 8 bytes.
Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016); where the form differs from theirs, ADR 0020 says why.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from service.repository.huffman import BadCode, Symbols, decode_symbols

WIDTHS_BYTES = (1, 2, 4, 8)
MOST_VALUES = 1 << 12
GAP_BITS = (1, 8)  # fewest and most
_NIBBLE_BITS, _NIBBLE_MASK = 4, 15
_VARINT_BITS, _VARINT_MORE, _VARINT_MASK, _VARINT_BYTES = 7, 0x80, 0x7F, 5
_ELEMENTS: Mapping[int, str] = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}

Patterns = npt.NDArray[Any]


class Damaged(ValueError):
    """The bytes are not what an encoder writes; the message says what is wrong with them."""


class Form(IntEnum):
    """How a block holds its bytes."""

    DEFLATED = 0
    DENSE = 1
    SPARSE = 2


@dataclass(slots=True)
class Reading:
    """A payload that is read from its front to its back."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises Damaged where there are fewer."""
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise Damaged("it ends too early")
        self.at += count
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.data) - self.at)

    def number(self) -> int:
        """The next number below 2**35, seven bits a byte, the lowest first. Raises Damaged."""
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & _VARINT_MASK) << (_VARINT_BITS * place)
            if byte < _VARINT_MORE:
                return value
        raise Damaged("a number does not end")

    def element(self) -> np.dtype[Any]:
        """The next byte as the width of an element. Raises Damaged."""
        width_bytes = self.take(1)[0]
        if width_bytes not in WIDTHS_BYTES:
            raise Damaged(f"its elements have {width_bytes} bytes")
        return np.dtype(_ELEMENTS[width_bytes])

    def codebook(self, element: np.dtype[Any]) -> Patterns:
        """The next values: their number, then each. Raises Damaged."""
        count = self.number()
        if not 0 < count <= MOST_VALUES:
            raise Damaged(f"its codebook has {count} values")
        return np.frombuffer(self.take(count * element.itemsize), element)

    def code(self, symbols: int) -> npt.NDArray[np.uint8]:
        """The next code lengths, two a byte, the first in the upper half. Raises Damaged."""
        halves = np.frombuffer(self.take((symbols + 1) // 2), np.uint8)
        pairs = np.stack((halves >> _NIBBLE_BITS, halves & _NIBBLE_MASK), axis=1)
        return pairs.reshape(-1)[:symbols]


def decode_block(payload: bytes, size_bytes: int) -> bytes:
    """The bytes that a block stands for.

    Args:
        payload: the block, its checksum already held.
        size_bytes: how many they must be.

    Raises:
        Damaged: it is not what an encoder writes, or gives another number of bytes.
    """
    reading = Reading(payload)
    form = reading.take(1)[0]
    try:
        match form:
            case Form.DEFLATED:
                return _deflated(reading, size_bytes)
            case Form.DENSE:
                return _dense(reading, size_bytes)
            case Form.SPARSE:
                return _sparse(reading, size_bytes)
    except BadCode as error:
        raise Damaged(str(error)) from None
    raise Damaged(f"there is no form {form}")


def inflate(data: bytes, size_bytes: int) -> bytes:
    """Raw deflate of exactly `size_bytes`, never writing more than one byte beyond them. Raises Damaged."""
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        # One more than promised: with a limit of exactly its size a stream may not see its own end.
        whole = stream.decompress(data, size_bytes + 1)
    except zlib.error:
        raise Damaged("what is deflated in it cannot be inflated") from None
    if len(whole) != size_bytes or not stream.eof or stream.unused_data:
        raise Damaged("what is deflated in it has another length")
    return whole


def _deflated(reading: Reading, size_bytes: int) -> bytes:
    """The first bytes of all elements, then the second ones, and so on: alike bytes side by side deflate better."""
    element = reading.element()
    _count(size_bytes, element)
    planes = np.frombuffer(inflate(reading.rest(), size_bytes), np.uint8)
    return planes.reshape(element.itemsize, -1).T.tobytes()


def _dense(reading: Reading, size_bytes: int) -> bytes:
    element = reading.element()
    codebook = reading.codebook(element)
    code = reading.code(len(codebook))
    if np.count_nonzero(code) < 2:  # noqa: PLR2004
        raise Damaged("a block of one value is not written so")
    return codebook[decode_symbols(code, reading.rest(), _count(size_bytes, element))].tobytes()


def _sparse(reading: Reading, size_bytes: int) -> bytes:
    element = reading.element()
    codebook = reading.codebook(element)
    value_code = reading.code(len(codebook) - 1)
    count = _count(size_bytes, element)
    gaps = _gaps(reading, count)
    limit = gaps.limit
    is_value = gaps.symbols < limit
    ends = np.cumsum(gaps.symbols + is_value, dtype=np.int64)
    reached = int(ends[-1])
    if not reached <= count < reached + limit:
        raise Damaged("its gaps lead to another number of elements")
    positions = ends[is_value] - 1
    values = decode_symbols(value_code, reading.rest(), len(positions))
    whole = np.full(count, codebook[0], element)
    whole[positions] = codebook[1:][values]
    return whole.tobytes()


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Gap symbols: so many elements of background before a value; `limit` alone means so many and no value."""

    symbols: Symbols
    limit: int


def _gaps(reading: Reading, most: int) -> _Gaps:
    """The next gaps, of which each stands for one element at least, so that there are no more than `most`."""
    bits = reading.take(1)[0]
    if not GAP_BITS[0] <= bits <= GAP_BITS[1]:
        raise Damaged(f"its gaps have {bits} bits")
    limit = (1 << bits) - 1
    code = reading.code(limit + 1)
    if np.count_nonzero(code) < 2:  # noqa: PLR2004
        raise Damaged("a block of one gap is not written so")
    count = reading.number()
    if count == 0:
        raise Damaged("it has no gaps")
    stream = reading.take(reading.number())
    if count > most:
        raise Damaged("its gaps lead to another number of elements")
    return _Gaps(decode_symbols(code, stream, count), limit)


def _count(size_bytes: int, element: np.dtype[Any]) -> int:
    count, left_over = divmod(size_bytes, element.itemsize)
    if left_over:
        raise Damaged(f"{size_bytes} bytes are no whole number of its elements")
    return count
