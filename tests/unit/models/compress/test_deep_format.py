"""docs/howto/deep-file.md is enough to read the format: a slow reader, written from that page, reads our files."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from models.compress.deep_file import encode
from tests.unit.models.compress.test_deep_file import DIGITS, held, shared


class Reader:
    """Reads from the front, byte by byte."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def section(self) -> bytes:
        length, checksum = (int.from_bytes(self.take(4), "little") for _ in range(2))
        payload = self.take(length)
        assert zlib.crc32(payload) == checksum
        return payload

    def code(self, symbols: int) -> list[int]:
        halves = [half for byte in self.take((symbols + 1) // 2) for half in (byte >> 4, byte & 15)]
        return halves[:symbols]


def symbols_of(lengths: Sequence[int], stream: bytes) -> Iterator[int]:
    """Symbols without end; canonical codes as RFC 1951 numbers them."""
    used = sorted((length, symbol) for symbol, length in enumerate(lengths) if length)
    if len(used) == 1:
        while True:
            yield used[0][1]
    codes, code, before = {}, 0, 0
    for length, symbol in used:
        code <<= length - before
        codes[format(code, f"0{length}b")] = symbol
        code, before = code + 1, length
    word = ""
    for bit in "".join(format(byte, "08b") for byte in stream):
        word += bit
        if word in codes:
            yield codes[word]
            word = ""


def block(payload: bytes, size_bytes: int) -> bytes:
    reader = Reader(payload)
    form, width_bytes = reader.take(2)
    if form == 0:
        planes = zlib.decompress(reader.rest(), wbits=-15)
        count = size_bytes // width_bytes
        return bytes(planes[place * count + element] for element in range(count) for place in range(width_bytes))
    codebook = [reader.take(width_bytes) for _ in range(reader.number())]
    if form == 1:
        symbols = symbols_of(reader.code(len(codebook)), reader.rest())
        return b"".join(codebook[next(symbols)] for _ in range(size_bytes // width_bytes))
    assert form == 2
    value_code = reader.code(len(codebook) - 1)
    (gap_bits,) = reader.take(1)
    longest = (1 << gap_bits) - 1
    gap_code, count = reader.code(longest + 1), reader.number()
    gaps = symbols_of(gap_code, reader.take(reader.number()))
    values = symbols_of(value_code, reader.rest())
    elements = []
    for _ in range(count):
        gap = next(gaps)
        elements += [codebook[0]] * gap
        if gap < longest:
            elements.append(codebook[1 + next(values)])
    elements += [codebook[0]] * (size_bytes // width_bytes - len(elements))
    return b"".join(elements)


def read(data: bytes) -> bytes:
    reader = Reader(data)
    assert reader.take(8) == bytes.fromhex("89 44 45 45 50 31 0D 0A")
    head = Reader(reader.section())
    size_bytes, sha256, skeleton_bytes = head.number(), head.take(32), head.number()
    directory = [(head.number(), head.number()) for _ in range(head.number())]
    skeleton = Reader(zlib.decompress(reader.section(), wbits=-15))
    assert len(skeleton.data) == skeleton_bytes
    whole = b"".join(skeleton.take(before) + block(reader.section(), size) for before, size in directory)
    whole += skeleton.rest()
    assert len(whole) == size_bytes and hashlib.sha256(whole).digest() == sha256
    assert reader.rest() == b""
    return whole


FILES = {
    "sparse": held(shared(3_000, 15, 0.05), shared(2_000, 1, 0.1, "float64", seed=1)),
    "dense": held(shared(1_500, 30, 1.0), shared(1_500, 60, 1.0, "int8", seed=1)),
    "deflated": held(numpy_helper.from_array(np.random.default_rng(0).normal(size=6_000).astype(np.float32), "w")),
    "no model": b"anything at all",
}


@pytest.mark.parametrize("name", FILES)
def test_a_reader_written_from_the_page_reads_it(name: str) -> None:
    assert read(encode(FILES[name])) == FILES[name]


def test_every_form_is_among_them() -> None:
    assert {payload[0] for name in FILES for payload in payloads(encode(FILES[name]))} == {0, 1, 2}


def payloads(data: bytes) -> list[bytes]:
    reader = Reader(data)
    reader.take(8)
    head = Reader(reader.section())
    _ = head.number(), head.take(32), head.number()
    count = head.number()
    reader.section()
    return [reader.section() for _ in range(count)]


@pytest.mark.slow
def test_the_shipped_variant_too() -> None:
    data = (DIGITS / "1-int8" / "model.onnx").read_bytes()
    assert read(encode(data)) == data


def test_the_page_names_the_limits_that_the_decoder_has() -> None:
    page = (Path(__file__).parents[4] / "docs" / "howto" / "deep-file.md").read_text()
    from service.repository import deep_blocks, deep_codec, huffman  # noqa: PLC0415

    assert f"1 to {deep_blocks.MOST_VALUES}" in page
    assert f"at most {huffman.LONGEST_BITS} bits" in page
    assert deep_codec.MAGIC.hex(" ").upper() in page
    assert np.all([str(width) in page for width in deep_blocks.WIDTHS_BYTES])
