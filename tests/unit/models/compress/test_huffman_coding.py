"""Code lengths against Huffman's own algorithm, their limit, and streams that the decoder reads back."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.compress.huffman_coding import code_lengths, coded_bits, encode_symbols
from service.repository.huffman import LONGEST_BITS, decode_symbols

COUNTS = st.lists(st.integers(0, 1_000), min_size=1, max_size=40).filter(any)


def huffman_bits(counts: list[int]) -> int:
    """What the classic algorithm's stream takes: the sum of all merged weights (Huffman 1952)."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        heapq.heappush(heap, merged)
        total += merged
    return total


@given(COUNTS)
@settings(deadline=None)
def test_lengths_are_a_complete_code_that_costs_least(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    assert ((lengths > 0) == (np.array(counts) > 0)).all()
    if np.count_nonzero(counts) > 1:
        assert sum(2.0 ** -int(length) for length in lengths if length) == 1
        assert coded_bits(np.array(counts)) == huffman_bits(counts)
    else:
        assert lengths.max() == 1 and coded_bits(np.array(counts)) == 0


def test_no_code_is_longer_than_the_limit() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci))
    assert lengths.max() == LONGEST_BITS, "without a limit it would be 39"
    assert sum(2.0 ** -int(length) for length in lengths) == 1
    assert huffman_bits(fibonacci) < coded_bits(np.array(fibonacci)) < 1.001 * huffman_bits(fibonacci)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=400))
@settings(deadline=None)
def test_what_is_coded_is_read_back(symbols: list[int]) -> None:
    coded = encode_symbols(np.array(symbols), 51)
    assert decode_symbols(coded.lengths, coded.stream, len(symbols)).tolist() == symbols
    assert len(coded.stream) == -(-coded_bits(np.bincount(symbols)) // 8)


@pytest.mark.parametrize(("count", "alphabet"), [(200_000, 32), (70_000, 4_096), (65_537, 2)])
def test_long_rows_are_read_back(count: int, alphabet: int) -> None:
    random = np.random.default_rng(0)
    symbols = random.choice(alphabet, count, p=random.dirichlet(np.full(alphabet, 0.3)))
    coded = encode_symbols(symbols, alphabet)
    np.testing.assert_array_equal(decode_symbols(coded.lengths, coded.stream, count), symbols)
