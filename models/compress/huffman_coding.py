"""Writes canonical Huffman codes of at most 15 bits: the lengths that cost least, and the stream.

The other half is `service.repository.huffman`, which reads them and says how they look.
Source: Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes" (JACM 1990): package-merge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.repository.huffman import LONGEST_BITS

_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Coded:
    """A table and its stream.

    Attributes:
        lengths: (k,) uint8, bits of each symbol's code, 0 where it does not occur.
        stream: the codes, filled with zero bits to whole bytes; empty where only one symbol occurs.
    """

    lengths: npt.NDArray[np.uint8]
    stream: bytes


def encode_symbols(symbols: npt.NDArray[np.integer], alphabet: int) -> Coded:
    """Codes symbols below `alphabet`; there must be at least one symbol."""
    counts = np.bincount(symbols, minlength=alphabet)
    lengths = code_lengths(counts)
    if np.count_nonzero(lengths) == 1:
        return Coded(lengths, b"")
    codes = _codes(lengths)
    bits = [_bits(codes[piece], lengths[piece]) for piece in _pieces(symbols)]
    return Coded(lengths, np.packbits(np.concatenate(bits)).tobytes())


def code_lengths(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Bits of each symbol's code, so that the whole costs least with no code longer than 15 bits.

    Args:
        counts: (k,) how often each symbol occurs; at most 2**15 of them are not 0.

    Returns:
        (k,) 0 for what does not occur; 1 for a symbol that occurs alone.
    """
    lengths = np.zeros(len(counts), np.uint8)
    used = np.flatnonzero(counts)
    if len(used) == 1:
        lengths[used] = 1
        return lengths
    order = used[np.argsort(counts[used], kind="stable")]
    lengths[order] = _package_merge(counts[order].astype(np.int64))
    return lengths


def coded_bits(counts: npt.NDArray[np.integer]) -> int:
    """How many bits the stream of symbols with these counts takes."""
    lengths = code_lengths(counts)
    return int((counts * lengths).sum()) if np.count_nonzero(lengths) > 1 else 0


def _package_merge(weights: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Code lengths of ascending weights, at least two.

    Each level holds the weights and the pairs of the level before, ascending. Which of its first entries are taken
    is decided from the last level back: a pair that is taken takes two entries of the level before.
    """
    levels = [weights]
    origins = [np.ones(len(weights), bool)]
    for _ in range(LONGEST_BITS - 1):
        before = levels[-1]
        pairs = before[0 : len(before) // 2 * 2 : 2] + before[1 : len(before) // 2 * 2 : 2]
        merged = np.concatenate((weights, pairs))
        order = np.argsort(merged, kind="stable")
        levels.append(merged[order])
        origins.append(order < len(weights))
    taken = 2 * len(weights) - 2
    lengths = np.zeros(len(weights), np.uint8)
    for is_weight in reversed(origins):
        own = int(is_weight[:taken].sum())
        lengths[:own] += 1
        taken = 2 * (taken - own)
    return lengths


def _codes(lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The canonical code of each symbol, in the low bits."""
    longest = int(lengths.max())
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    widths = np.int64(1) << (longest - lengths[order].astype(np.int64))
    codes = np.zeros(len(lengths), np.uint32)
    codes[order] = np.cumsum(widths) - widths
    codes[order] >>= longest - lengths[order].astype(np.uint32)
    return codes


def _pieces(symbols: npt.NDArray[np.integer]) -> list[npt.NDArray[np.integer]]:
    return [symbols[start : start + _PIECE] for start in range(0, len(symbols), _PIECE)]


def _bits(codes: npt.NDArray[np.uint32], lengths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(sum of lengths,) the bits of right-aligned codes one after another."""
    places = np.arange(LONGEST_BITS, dtype=np.uint32)[::-1]
    bits = (codes[:, None] >> places & 1).astype(np.uint8)
    return bits[places < lengths[:, None]]
