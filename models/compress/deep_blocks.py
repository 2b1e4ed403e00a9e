"""Codes the elements of one tensor in the way that takes least: deflated, as indices, or as gaps between values.

The other half is `service.repository.deep_blocks`, whose forms these are.
Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016), sections 2 to 4. Theirs puts a zero in where a gap is longer
than its bits can say; here the longest gap stands for itself and no value, which saves the zero's code.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.compress.huffman_coding import coded_bits, encode_symbols
from service.repository.deep_blocks import GAP_BITS, MOST_VALUES, Form

Integers = npt.NDArray[np.integer]
_SPARSE_SHARE = 0.3  # below so many elements of the commonest value, gaps cannot pay


@dataclass(frozen=True, slots=True)
class _Shared:
    """Elements as a codebook and indices.

    Attributes:
        codebook: (k,) bit patterns, the commonest first, the others ascending.
        indices: (n,) into it.
        counts: (k,) how often each occurs.
    """

    codebook: Integers
    indices: Integers
    counts: Integers


def deflated(data: bytes) -> bytes:
    """Raw deflate, as small as zlib can."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def smallest_block(elements: bytes, width_bytes: int) -> bytes:
    """The block that takes least.

    Args:
        elements: a whole number of them, at least one.
        width_bytes: of one element: 1, 2, 4 or 8.
    """
    return min(blocks(elements, width_bytes), key=len)


def blocks(elements: bytes, width_bytes: int) -> Iterator[bytes]:
    """Every block that holds the elements; at most one of each form, sparse with the best bits of a gap."""
    patterns = np.frombuffer(elements, f"<u{width_bytes}")
    planes = np.frombuffer(elements, np.uint8).reshape(-1, width_bytes).T.tobytes()
    yield bytes((Form.DEFLATED, width_bytes)) + deflated(planes)
    shared = _share(patterns)
    if shared is None:
        return
    yield _dense(shared, width_bytes)
    if shared.counts[0] >= _SPARSE_SHARE * len(patterns):
        gaps = min(range(GAP_BITS[0], GAP_BITS[1] + 1), key=lambda bits: gap_stream_bits(shared.indices, bits))
        if (block := _sparse(shared, width_bytes, gaps)) is not None:
            yield block


def gap_symbols(indices: Integers, bits: int) -> Integers:
    """The gaps before each element that is not the background (index 0), and what leads to the end.

    Args:
        indices: (n,).
        bits: a gap is below 2**bits - 1; that number itself says: so many of the background, and no value.
    """
    limit = (1 << bits) - 1
    positions = np.flatnonzero(indices)
    gaps = np.diff(positions, prepend=-1) - 1
    escapes = gaps // limit
    tail = (len(indices) - 1 - (positions[-1] if len(positions) else -1)) // limit
    symbols = np.full(int(escapes.sum()) + len(gaps) + tail, limit)
    symbols[np.cumsum(escapes + 1) - 1] = gaps % limit
    return symbols


def gap_stream_bits(indices: Integers, bits: int) -> int:
    """What the gaps take, with their code lengths."""
    return coded_bits(np.bincount(gap_symbols(indices, bits), minlength=1 << bits)) + 4 * (1 << bits)


def _share(patterns: Integers) -> _Shared | None:
    """None where there is one value alone, or too many."""
    values, indices, counts = np.unique(patterns, return_inverse=True, return_counts=True)
    if not 1 < len(values) <= MOST_VALUES:
        return None
    common = int(counts.argmax())
    order = np.concatenate(([common], np.delete(np.arange(len(values)), common)))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return _Shared(values[order], place[indices], counts[order])


def _head(form: Form, shared: _Shared, width_bytes: int) -> bytes:
    return bytes((form, width_bytes)) + number(len(shared.codebook)) + shared.codebook.tobytes()


def _dense(shared: _Shared, width_bytes: int) -> bytes:
    coded = encode_symbols(shared.indices, len(shared.codebook))
    return _head(Form.DENSE, shared, width_bytes) + _code(coded.lengths) + coded.stream


def _sparse(shared: _Shared, width_bytes: int, gap_bits: int) -> bytes | None:
    """None where all gaps are alike, which the form does not hold."""
    values = encode_symbols(shared.indices[shared.indices > 0] - 1, len(shared.codebook) - 1)
    symbols = gap_symbols(shared.indices, gap_bits)
    gaps = encode_symbols(symbols, 1 << gap_bits)
    if not gaps.stream:
        return None
    head = _head(Form.SPARSE, shared, width_bytes) + _code(values.lengths)
    table = bytes((gap_bits,)) + _code(gaps.lengths)
    return head + table + number(len(symbols)) + number(len(gaps.stream)) + gaps.stream + values.stream


def _code(lengths: npt.NDArray[np.uint8]) -> bytes:
    even = np.append(lengths, np.zeros(len(lengths) % 2, np.uint8))
    return (even[0::2] << 4 | even[1::2]).tobytes()


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the upper bit says that more follow."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
