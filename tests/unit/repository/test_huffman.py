"""Canonical codes against a table and a slow reader of our own; tables and streams that no encoder writes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.repository import huffman
from service.repository.huffman import BadCode, decode_symbols
from tests.unit.repository.deep_parts import bits, takes_at_most

# Code lengths -> the codes that RFC 1951, section 3.2.2, gives them, shortest first and then by symbol.
CODES = {
    (1, 1): ["0", "1"],
    (2, 1, 2): ["10", "0", "11"],
    (3, 3, 3, 3, 3, 2, 4, 4): ["010", "011", "100", "101", "110", "00", "1110", "1111"],  # the RFC's own example
    (0, 2, 0, 2, 1): ["", "10", "", "11", "0"],
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15): [*("1" * n + "0" for n in range(15)), "1" * 15],
}


def lengths(*values: int) -> npt.NDArray[np.uint8]:
    return np.array(values, np.uint8)


@pytest.mark.parametrize("table", CODES)
def test_each_symbol_has_its_canonical_code(table: tuple[int, ...]) -> None:
    for symbol, code in enumerate(CODES[table]):
        if code:
            assert decode_symbols(lengths(*table), bits(code), 1).tolist() == [symbol]


@given(st.data(), st.sampled_from(sorted(CODES)))
@settings(deadline=None)
def test_a_row_of_codes_is_read_back(data: st.DataObject, table: tuple[int, ...]) -> None:
    used = [symbol for symbol, code in enumerate(CODES[table]) if code]
    symbols = data.draw(st.lists(st.sampled_from(used), max_size=200))
    stream = bits("".join(CODES[table][symbol] for symbol in symbols))
    if symbols:
        assert decode_symbols(lengths(*table), stream, len(symbols)).tolist() == symbols


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7])
def test_where_the_stream_is_cut_for_reading_does_not_matter(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15)
    symbols = np.random.default_rng(0).integers(16, size=300).tolist()
    stream = bits("".join(CODES[table][symbol] for symbol in symbols))
    monkeypatch.setattr(huffman, "_CHUNK_BYTES", chunk_bytes)
    assert decode_symbols(lengths(*table), stream, 300).tolist() == symbols


def test_one_symbol_alone_takes_no_bits() -> None:
    assert decode_symbols(lengths(0, 0, 1), b"", 5).tolist() == [2] * 5
    with pytest.raises(BadCode, match="has a stream"):
        decode_symbols(lengths(0, 0, 1), b"\0", 5)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ((), "longest code has 0 bits"),
        ((0, 0), "longest code has 0 bits"),
        ((16, 1), "longest code has 16 bits"),
        ((1, 2), "not complete"),  # a pattern without a symbol
        ((0, 2), "not complete"),
        ((1, 1, 1), "not complete"),  # a pattern with two
        ((15, 15, 15), "not complete"),
    ],
)
def test_tables_that_leave_a_doubt_are_refused(table: tuple[int, ...], said: str) -> None:
    with pytest.raises(BadCode, match=said):
        decode_symbols(lengths(*table), b"\0" * 100, 3)


@pytest.mark.parametrize(
    ("stream", "count", "said"),
    [
        (b"", 1, "cannot be in 0 bytes"),
        (b"\xff", 9, "9 symbols cannot be in 1 bytes"),
        (b"\xff", 5, "ends too early"),  # "11" four times, and nothing for a fifth
        (b"\xff\x00", 4, "ends elsewhere"),
        (b"\x00\x00", 0, "ends elsewhere"),
    ],
)
def test_streams_of_another_length_are_refused(stream: bytes, count: int, said: str) -> None:
    with pytest.raises(BadCode, match=said):
        decode_symbols(lengths(2, 1, 2), stream, count)


def test_a_code_that_ends_behind_the_stream_is_refused() -> None:
    table = lengths(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15)
    with pytest.raises(BadCode, match="ends elsewhere"):
        decode_symbols(table, b"\xff", 1)


def test_a_count_that_the_stream_cannot_hold_takes_no_memory() -> None:
    with takes_at_most(100_000), pytest.raises(BadCode):
        decode_symbols(lengths(1, 1), b"\0" * 10, 1 << 40)


def test_the_measure_of_memory_sees_arrays() -> None:
    with pytest.raises(AssertionError), takes_at_most(100_000):
        assert np.full(200_000, 1, np.uint8).all()
