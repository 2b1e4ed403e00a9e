from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from service.core.contract import DTYPES
from service.core.errors import BadInput
from service.gateway.binary_tensors import array_at, bytes_of

NUMERIC = [name for name in DTYPES if name not in ("BOOL", "BYTES")]


def element(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


@pytest.mark.parametrize("datatype", NUMERIC)
@pytest.mark.parametrize("offset", [0, 1, 8])
def test_numbers_are_read_from_anywhere_in_the_body(datatype: str, offset: int) -> None:
    sent = np.arange(6, dtype=DTYPES[datatype]).reshape(2, 3)
    body = b"." * offset + sent.tobytes() + b"."
    array = array_at(body, offset, sent.nbytes, [2, 3], datatype, "x")
    assert array.dtype == sent.dtype
    assert array.flags.aligned
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, sent)


def test_an_aligned_tensor_is_a_view_of_the_body() -> None:
    body = np.arange(64, dtype=np.float32).tobytes()
    array = array_at(body, 0, 256, [1, 64], "FP32", "x")
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_bytes_are_little_endian() -> None:
    assert array_at(b"\x01\x00\x00\x02", 0, 4, [2], "UINT16", "x").tolist() == [1, 512]


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_size_that_the_shape_does_not_ask_for_is_refused(size: int) -> None:
    with pytest.raises(BadInput, match=f"input 'x' has {size} bytes of binary data, its shape asks for 16"):
        array_at(b"." * 64, 0, size, [2, 2], "FP32", "x")


def test_booleans_are_zero_or_one() -> None:
    assert array_at(b"\x00\x01", 0, 2, [2], "BOOL", "x").tolist() == [False, True]
    assert array_at(b"", 0, 0, [0], "BOOL", "x").tolist() == []
    with pytest.raises(BadInput, match="input 'x' is BOOL and has a byte other than 0 and 1"):
        array_at(b"\x00\x02", 0, 2, [2], "BOOL", "x")


def test_zero_rows_are_zero_bytes() -> None:
    assert array_at(b"abc", 3, 0, [0, 5], "FP32", "x").shape == (0, 5)


def test_bytes_elements_have_their_length_before_them() -> None:
    blob = element(b"a") + element(b"") + element(b"\xff\x00")
    array = array_at(b"##" + blob + b"##", 2, len(blob), [3, 1], "BYTES", "x")
    assert array.tolist() == [[b"a"], [b""], [b"\xff\x00"]]
    assert array.dtype == np.object_


@pytest.mark.parametrize(
    ("blob", "count", "words"),
    [
        (b"", 1, "has 0 bytes, too few for 1 BYTES elements"),
        (b"\x01\x00\x00\x00", 2, "has 4 bytes, too few for 2"),
        (element(b"abcd"), 2, "ends inside the length of element 1"),
        (b"\x05\x00\x00\x00ab", 1, "ends inside element 0"),
        (b"\xff\xff\xff\xff", 1, "ends inside element 0"),
        (element(b"a") + b"..", 1, "has 2 bytes after its last element"),
        (b"....", 0, "has 4 bytes after its last element"),
        (b"", 1 << 40, "too few for"),
    ],
)
def test_a_blob_that_is_no_list_of_elements_is_refused(blob: bytes, count: int, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        array_at(blob, 0, len(blob), [count], "BYTES", "x")


def test_outputs_are_written_row_major_whatever_their_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert bytes(bytes_of(array)) == array.tobytes()
    assert bytes(bytes_of(array.T)) == array.T.tobytes()
    assert bytes(bytes_of(np.float32(2.5).reshape(()))) == np.float32(2.5).tobytes()
    assert bytes(bytes_of(np.zeros((0, 3), np.float32))) == b""


@pytest.mark.parametrize("datatype", [*NUMERIC, "BOOL"])
def test_what_is_written_is_read_back(datatype: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype=DTYPES[datatype])
    blob = bytes(bytes_of(array))
    np.testing.assert_array_equal(array_at(blob, 0, len(blob), [2, 2], datatype, "x"), array)


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_elements_are_those_of_triton_s_client(elements: list[bytes]) -> None:
    array = np.empty(len(elements), dtype=np.object_)
    array[:] = elements
    blob = bytes(bytes_of(array))
    assert array_at(blob, 0, len(blob), [len(elements)], "BYTES", "x").tolist() == elements
    if elements:
        read: Any = deserialize_bytes_tensor(blob)
        assert read.tolist() == elements
        assert serialize_byte_tensor(array).item() == blob
