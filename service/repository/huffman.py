"""Decodes canonical Huffman codes, most significant bit first, from a table of code lengths.

A table is used only if its code is complete, so that every bit pattern means one symbol; a stream must hold exactly
the symbols that were promised and nothing behind them, and no memory is taken for more than it can hold.
Source: RFC 1951, section 3.2.2, for the canonical form; the order of bits is the other one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

LONGEST_BITS = 15
_CHUNK_BYTES = 1 << 14
_BYTE_BITS = 8
_WINDOW_BYTES = 3  # the longest code, begun at any bit of a byte, ends within them

Symbols = npt.NDArray[np.uint16]


class BadCode(ValueError):
    """A table or a stream that no encoder writes; the message says which."""


def decode_symbols(lengths: npt.NDArray[np.uint8], stream: bytes, count: int) -> Symbols:
    """Decodes a stream.

    Args:
        lengths: (k,) bits of each symbol's code, 0 for a symbol that does not occur, at most `LONGEST_BITS`; k is at
            most 65,536.
        stream: the codes one after another, zero bits up to the last byte's end. Where only one symbol occurs, its
            length is 1 and the stream is empty: nothing needs to be said.
        count: how many symbols it holds; where only one occurs the stream sets no bound, and the caller must.

    Returns:
        (count,) the symbols, which are indices into `lengths`.

    Raises:
        BadCode: the code is incomplete or over-subscribed, or the stream holds fewer or more symbols.
    """
    used = np.flatnonzero(lengths)
    if len(used) == 1 and lengths[used[0]] == 1:
        if stream:
            raise BadCode("a code of one symbol has a stream")
        return np.full(count, used[0], np.uint16)
    symbol_of, bits_of = _table(lengths)
    if count > _BYTE_BITS * len(stream):
        raise BadCode(f"{count} symbols cannot be in {len(stream)} bytes")
    symbols = np.empty(count, np.uint16)
    filled = 0
    for windows, starts in _walk(stream, bits_of, count):
        symbols[filled : filled + len(starts)] = symbol_of[windows[starts]]
        filled += len(starts)
    return symbols


def _table(lengths: npt.NDArray[np.uint8]) -> tuple[Symbols, npt.NDArray[np.uint8]]:
    """Symbol and code length for each pattern of the longest code's bits."""
    longest = int(lengths.max(initial=0))
    if not 0 < longest <= LONGEST_BITS:
        raise BadCode(f"its longest code has {longest} bits")
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    patterns = np.int64(1) << (longest - lengths[order].astype(np.int64))
    if int(patterns.sum()) != 1 << longest:
        raise BadCode("its code is not complete")
    return np.repeat(order, patterns).astype(np.uint16), np.repeat(lengths[order], patterns)


def _walk(
    stream: bytes, bits_of: npt.NDArray[np.uint8], count: int
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]]:
    """For each piece of the stream: the pattern that begins at each bit, and at which bits a code begins."""
    longest = (len(bits_of) - 1).bit_length()
    at, left = 0, count
    for first in range(0, len(stream), _CHUNK_BYTES):
        windows = _windows(stream[first : first + _CHUNK_BYTES + _WINDOW_BYTES - 1], longest)
        whole = min(_CHUNK_BYTES, len(stream) - first) * _BYTE_BITS
        starts, at = _starts(bits_of[windows[:whole]].tobytes(), at, left)
        left -= len(starts)
        yield windows, starts
        if not left:
            end = first * _BYTE_BITS + at
            break
        at -= whole
    else:
        raise BadCode("its stream ends too early")
    if -(-end // _BYTE_BITS) != len(stream):
        raise BadCode("its stream ends elsewhere than its symbols")


def _windows(piece: bytes, longest: int) -> npt.NDArray[np.uint32]:
    """The next `longest` bits from each bit of a piece on; behind its end are zeros."""
    data = np.frombuffer(piece + b"\0" * _WINDOW_BYTES, np.uint8).astype(np.uint32)
    joined = data[:-2] << 16 | data[1:-1] << 8 | data[2:]
    shifts = _WINDOW_BYTES * _BYTE_BITS - longest - np.arange(_BYTE_BITS)
    windows = np.right_shift(joined[:, None], shifts.astype(np.uint32), dtype=np.uint32)
    masked: npt.NDArray[np.uint32] = np.bitwise_and(windows, np.uint32((1 << longest) - 1))
    return masked.reshape(-1)


def _starts(bits: bytes, at: int, most: int) -> tuple[npt.NDArray[np.int64], int]:
    """Where codes begin, from bit `at` on; each follows from the one before, so this alone is a loop.

    Returns:
        At most `most` positions, and where the next code begins, which may be behind the end.
    """
    starts: list[int] = []
    put = starts.append
    stop = len(bits)
    while at < stop and most:
        put(at)
        at += bits[at]
        most -= 1
    return np.array(starts, np.int64), at
