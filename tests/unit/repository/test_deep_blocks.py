"""Blocks written by hand, in each form; heads that lie, and what they may cost."""

from __future__ import annotations

import numpy as np
import pytest

from service.repository.deep_blocks import Damaged, decode_block, inflate
from tests.unit.repository.deep_parts import bits, deflate, nibbles, number, takes_at_most

FLOATS = np.array([0.0, 0.5, -2.0], "<f4")
# Codes of the dense one: 0 -> "0", 0.5 -> "10", -2 -> "11".
DENSE_HEAD = b"\x01\x04" + number(3) + FLOATS.tobytes() + nibbles([1, 2, 2])
DENSE = DENSE_HEAD + bits("0 10 0 0 11")
DENSE_VALUES = FLOATS[[0, 1, 0, 0, 2]]
# Gaps of two bits: 0, 1 and 2 lead to a value, 3 is three of the background; codes 0 -> "10", 1 -> "110", 2 -> "111",
# 3 -> "0". Values: 0.5 -> "0", -2 -> "1".
GAPS_HEAD = b"\x02\x04" + number(3) + FLOATS.tobytes() + nibbles([1, 1]) + b"\x02" + nibbles([2, 3, 3, 1])
SPARSE = GAPS_HEAD + number(5) + number(2) + bits("110  0 0 111  10") + bits("0 1 1")
SPARSE_VALUES = np.array([0, 0.5, *[0] * 8, -2, -2, 0, 0], "<f4")


def test_deflated() -> None:
    values = np.arange(50, dtype="<u4") * 1_000
    planes = values.view(np.uint8).reshape(-1, 4).T.tobytes()
    assert decode_block(b"\x00\x04" + deflate(planes), 200) == values.tobytes()
    assert decode_block(b"\x00\x01" + deflate(b"as it is"), 8) == b"as it is"


def test_dense() -> None:
    assert decode_block(DENSE, 20) == DENSE_VALUES.tobytes()


def test_sparse() -> None:
    assert decode_block(SPARSE, 56) == SPARSE_VALUES.tobytes()


@pytest.mark.parametrize("beyond", [0, 1, 2])
def test_a_row_ends_less_than_a_longest_gap_behind_its_last_value(beyond: int) -> None:
    assert len(decode_block(SPARSE, (12 + beyond) * 4)) == (12 + beyond) * 4


@pytest.mark.parametrize("count", [0, 11, 15, 1 << 30])
def test_gaps_that_lead_elsewhere_are_refused(count: int) -> None:
    with pytest.raises(Damaged, match="another number of elements"):
        decode_block(SPARSE, count * 4)


@pytest.mark.parametrize("width_bytes", [1, 2, 4, 8])
def test_every_width(width_bytes: int) -> None:
    codebook = np.array([7, 9], f"<u{width_bytes}")
    payload = bytes((1, width_bytes)) + number(2) + codebook.tobytes() + nibbles([1, 1]) + bits("0110")
    assert decode_block(payload, 4 * width_bytes) == codebook[[0, 1, 1, 0]].tobytes()


def test_a_single_other_value_needs_no_stream() -> None:
    codebook = np.array([128, 3], np.uint8)
    head = b"\x02\x01" + number(2) + codebook.tobytes() + nibbles([1]) + b"\x01" + nibbles([1, 1])
    assert decode_block(head + number(3) + number(1) + bits("1 0 0"), 3) == bytes([128, 3, 3])


LIES = {
    "nothing": (b"", 4, "ends too early"),
    "form": (b"\x03\x04", 4, "no form 3"),
    "width": (b"\x01\x03", 4, "elements have 3 bytes"),
    "no codebook": (b"\x01\x04" + number(0), 4, "codebook has 0 values"),
    "huge codebook": (b"\x01\x04" + number(1 << 30), 4, "codebook has 1073741824 values"),
    "codebook cut off": (b"\x01\x04" + number(4_096) + b"\0" * 100, 4, "ends too early"),
    "number": (b"\x01\x04" + b"\xff" * 9, 4, "number does not end"),
    "code": (b"\x01\x04" + number(3) + FLOATS.tobytes() + nibbles([2, 2, 2]) + b"\0", 4, "not complete"),
    "one value": (b"\x01\x04" + number(3) + FLOATS.tobytes() + nibbles([1, 0, 0]), 1 << 30, "one value"),
    "many elements": (DENSE, 1 << 30, "cannot be in"),
    "few elements": (DENSE_HEAD + bits("0 10 0 0 11 0 0 0"), 20, "ends elsewhere"),
    "half an element": (DENSE, 19, "whole number of its elements"),
    "half a deflated element": (b"\x00\x04" + deflate(b"abcde"), 5, "whole number of its elements"),
    "gap bits": (GAPS_HEAD[:-3] + b"\x00", 4, "gaps have 0 bits"),
    "more gap bits": (GAPS_HEAD[:-3] + b"\x09", 4, "gaps have 9 bits"),
    "one gap": (GAPS_HEAD[:-2] + nibbles([0, 0, 0, 1]) + number(1 << 30) + number(0), 1 << 33, "one gap"),
    "no gaps": (GAPS_HEAD + number(0) + number(0), 4, "has no gaps"),
    "many gaps": (GAPS_HEAD + number(1 << 30) + number(2) + b"\0\0", 4, "another number of elements"),
    "more gaps than their stream holds": (GAPS_HEAD + number(14) + number(1) + b"\0", 56, "cannot be in 1 bytes"),
    "gaps cut off": (GAPS_HEAD + number(1 << 10) + number(1 << 10) + b"\0", 4, "ends too early"),
    "values": (SPARSE[:-1], 56, "cannot be in 0 bytes"),
    "values and more": (SPARSE + b"\0", 56, "ends elsewhere"),
    "a background alone": (b"\x02\x04" + number(1) + b"\0" * 4 + GAPS_HEAD[-3:] + SPARSE[-5:], 56, "0 bits"),
    "deflated size": (b"\x00\x04" + deflate(bytes(1 << 20)), 1 << 10, "another length"),
    "deflated size, larger": (b"\x00\x04" + deflate(bytes(1 << 10)), 1 << 20, "another length"),
    "not deflated": (b"\x00\x04\xff\xff", 4, "cannot be inflated"),
    "more behind what is deflated": (b"\x00\x04" + deflate(bytes(8)) + b"\0", 8, "another length"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_refused_and_take_no_memory(lie: str) -> None:
    payload, size_bytes, said = LIES[lie]
    with takes_at_most(200_000), pytest.raises(Damaged, match=said):
        decode_block(payload, size_bytes)


def test_inflating_gives_exactly_what_was_promised() -> None:
    assert inflate(deflate(b"x" * 1_000), 1_000) == b"x" * 1_000
    assert inflate(deflate(b""), 0) == b""
    with pytest.raises(Damaged, match="another length"):
        inflate(deflate(b"x" * 1_000)[:-1], 1_000)


def test_more_gaps_than_elements_are_refused_before_they_are_read() -> None:
    stream = bytes(500_000)  # four million gaps of one bit each
    codebook = np.array([0, 1], np.uint8).tobytes()
    head = b"\x02\x01" + number(2) + codebook + nibbles([1]) + b"\x01" + nibbles([1, 1])
    payload = head + number(8 * len(stream)) + number(len(stream)) + stream
    with takes_at_most(1_000_000), pytest.raises(Damaged, match="another number of elements"):
        decode_block(payload, 10)
