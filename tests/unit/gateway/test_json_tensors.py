from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.core.contract import DTYPES
from service.core.errors import BadInput, NotRepresentable
from service.gateway.json_tensors import _FEW, _PIECE, array_of, flatten, in_pieces, refuse_non_finite, values_of

INTEGERS = [name for name in DTYPES if "INT" in name]


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "expected"),
    [
        ([1, 2, 3, 4], [2, 2], "FP32", [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], [2, 2], "FP32", [[1, 2], [3, 4]]),
        ([[[1.5]], [[2.5]]], [2, 1, 1], "FP64", [[[1.5]], [[2.5]]]),
        ([True, False], [2], "BOOL", [True, False]),
        ([-128, 127], [2], "INT8", [-128, 127]),
        ([2**64 - 1], [1], "UINT64", [2**64 - 1]),
        ([-(2**63)], [1], "INT64", [-(2**63)]),
        (["a", "ü", ""], [3], "BYTES", [b"a", "ü".encode(), b""]),
        ([], [0, 4], "FP32", np.empty((0, 4))),
        ([[], []], [2, 0], "FP32", np.empty((2, 0))),
        ([7], [], "INT32", 7),
    ],
)
def test_data_nested_or_flat_becomes_the_array(data: Any, shape: list[int], datatype: str, expected: Any) -> None:
    array = array_of(data, shape, datatype, "x")
    assert array.dtype == DTYPES[datatype]
    assert array.shape == tuple(shape)
    np.testing.assert_array_equal(array, np.array(expected, dtype=DTYPES[datatype]))


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "words"),
    [
        (5, [1], "FP32", "'data' of input 'x' is a number, expected a list"),
        (None, [1], "FP32", "is null, expected a list"),
        ({"0": 1}, [1], "FP32", "is an object, expected a list"),
        ("1234", [4], "FP32", "is '1234', expected a list"),
        ([1, 2, 3], [4], "FP32", "has 3 elements, expected 4"),
        ([1] * 5, [2, 2], "FP32", "has 5 elements, expected 4"),
        ([], [1], "FP32", "has 0 elements, expected 1"),
        ([[1, 2], [3]], [2, 2], "FP32", "nested unevenly: expected lists of 2 at depth 2"),
        ([[1, 2], 3], [2, 2], "FP32", "nested unevenly: expected lists of 2 at depth 2"),
        ([[1, 2, 3, 4]], [2, 2], "FP32", "nested unevenly: expected lists of 2 at depth 1"),
        ([[[1, 2]], [[3, 4]]], [2, 2], "FP32", "nested unevenly: expected lists of 2 at depth 2"),
        ([[1, [2]], [3, 4]], [2, 2], "FP32", "has a list, but FP32 takes only numbers"),
        ([1, [2]], [2], "FP32", "has a list, but FP32 takes only numbers"),
        ([1, True], [2], "FP32", "has a boolean, but FP32 takes only numbers"),
        ([1, None], [2], "FP32", "has null, but FP32 takes only numbers"),
        (["1"], [1], "FP32", "has '1', but FP32 takes only numbers"),
        ([1.5], [1], "INT64", "has 1.5, but INT64 takes only integers"),
        ([1.0], [1], "INT64", "has 1.0, but INT64 takes only integers"),
        ([True], [1], "UINT8", "has a boolean, but UINT8 takes only integers"),
        ([1], [1], "BOOL", "has 1, but BOOL takes only booleans"),
        ([1], [1], "BYTES", "has 1, but BYTES takes only strings"),
        ([0.5], [1], "FP16", "FP16, which JSON cannot carry: send it as binary data"),
        ([0.5], [1], "BF16", "BF16, which JSON cannot carry"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(data: Any, shape: list[int], datatype: str, words: str) -> None:
    with pytest.raises(BadInput) as refused:
        array_of(data, shape, datatype, "x")
    assert words in str(refused.value)


@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_is_never_wrapped(datatype: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    assert array_of([int(limits.min), int(limits.max)], [2], datatype, "x").tolist() == [limits.min, limits.max]
    for value in (int(limits.min) - 1, int(limits.max) + 1):
        with pytest.raises(BadInput, match=f"outside the range of {datatype}"):
            array_of([value], [1], datatype, "x")


def test_a_wrapped_integer_is_what_numpy_alone_would_give() -> None:
    assert np.array([300]).astype(np.uint8).tolist() == [44]


@pytest.mark.parametrize("value", [3.5e38, -3.5e38, 1e300])
def test_a_float_too_large_for_fp32_does_not_become_infinity(value: float) -> None:
    with pytest.raises(BadInput, match="outside the range of FP32"):
        array_of([0.0, value], [2], "FP32", "x")
    assert array_of([value], [1], "FP64", "x").tolist() == [value]


def test_a_tiny_float_may_become_zero() -> None:
    assert array_of([1e-300], [1], "FP32", "x").tolist() == [0.0]


def test_a_long_wrong_element_makes_no_long_sentence() -> None:
    with pytest.raises(BadInput) as refused:
        array_of(["y" * 1_000_000], [1], "FP32", "x" * 1_000_000)
    assert len(str(refused.value)) < 300


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=4, max_side=4),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_come_back_exactly_both_ways(array: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    sent = orjson.loads(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
    for data in (sent, flatten(sent, array.shape, "x")):
        read = array_of(data, array.shape, "FP32", "x")
        np.testing.assert_array_equal(read, array)
    written = orjson.loads(orjson.dumps(values_of(read, "y"), option=orjson.OPT_SERIALIZE_NUMPY))
    np.testing.assert_array_equal(np.array(written, np.float32).reshape(array.shape), array)


def test_outputs_are_flat_and_row_major_whatever_their_layout() -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert values_of(array, "y").tolist() == [0, 1, 2, 3, 4, 5]
    assert values_of(array.T, "y").tolist() == [0, 3, 1, 4, 2, 5]


def test_bytes_outputs_are_strings() -> None:
    assert values_of(np.array([[b"a", "ü".encode()]], dtype=np.object_), "y") == ["a", "ü"]


def test_bytes_that_are_no_text_ask_for_binary() -> None:
    with pytest.raises(NotRepresentable, match="output 'y' is not UTF-8: ask for binary"):
        values_of(np.array([b"\xff"], dtype=np.object_), "y")


def test_fp16_outputs_ask_for_binary() -> None:
    with pytest.raises(NotRepresentable, match="output 'y' is FP16, which JSON cannot carry: ask for binary"):
        values_of(np.zeros(1, np.float16), "y")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_asks_for_binary(value: float) -> None:
    with pytest.raises(NotRepresentable, match="holds NaN or infinity, which JSON cannot carry: ask for binary"):
        refuse_non_finite(np.array([0, value], np.float32), "y")
    assert orjson.dumps([value]) == b"[null]"


@pytest.mark.parametrize("array", [np.ones(3, np.float32), np.ones(3, np.int64), np.array([b"x"], np.object_)])
def test_finite_values_and_other_kinds_pass(array: Any) -> None:
    refuse_non_finite(array, "y")


@pytest.mark.parametrize("datatype", ["INT32", "FP64", "BYTES", "BOOL"])
@pytest.mark.parametrize("size", [_PIECE - 1, _PIECE, _PIECE + 1, 3 * _PIECE])
def test_many_values_are_the_same_in_pieces(size: int, datatype: str) -> None:
    kinds = {"INT32": range(size), "FP64": range(size), "BYTES": map(str, range(size))}
    data: list[Any] = list(kinds.get(datatype, [True] * size))
    array = array_of(data, [size, 1], datatype, "x")
    assert array.shape == (size, 1)
    assert array.dtype == DTYPES[datatype]
    assert [value.decode() if datatype == "BYTES" else value for value in array[:, 0].tolist()] == data


@pytest.mark.parametrize("at", [0, _PIECE, 2 * _PIECE + 5])
@pytest.mark.parametrize("wrong", ["a", 2**40, None])
def test_a_wrong_value_is_found_in_whatever_piece(at: int, wrong: Any) -> None:
    data: list[Any] = [0] * (2 * _PIECE + 10)
    data[at] = wrong
    with pytest.raises(BadInput, match="'data' of input 'x' has"):
        array_of(data, [len(data)], "INT32", "x")


@pytest.mark.parametrize("size", [_FEW, _FEW + 1, _PIECE + 1])
@pytest.mark.parametrize(
    ("datatype", "right", "wrong"),
    [
        *((number, right, wrong) for number in ("INT64", "UINT8") for right in (1, 2) for wrong in (True, False, 1.0)),
        *((number, right, wrong) for number in ("FP32", "FP64") for right in (0, 0.5) for wrong in (True, False, "1")),
        *(("BOOL", True, wrong) for wrong in (0, 1, 1.0, "", None)),
        *(("BYTES", "1", wrong) for wrong in (1, True, None)),
    ],
)
def test_one_value_of_another_kind_is_refused_among_any_number(
    size: int, datatype: str, right: Any, wrong: Any
) -> None:
    data: list[Any] = [right] * size
    assert array_of(data, [size], datatype, "x").shape == (size,)
    data[size // 2] = wrong
    with pytest.raises(BadInput, match=rf"'data' of input 'x' has .*, but {datatype} takes only"):
        array_of(data, [size], datatype, "x")


@pytest.mark.parametrize("size", [_PIECE, _PIECE + 1, 3 * _PIECE])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_a_large_output_is_written_in_pieces_as_it_would_be_whole(size: int, dtype: Any) -> None:
    array = np.random.default_rng(0).normal(size=(size // 4, 4)).astype(dtype)
    option = orjson.OPT_SERIALIZE_NUMPY
    assert orjson.dumps(in_pieces(values_of(array, "y")), option=option) == orjson.dumps(
        array.reshape(-1), option=option
    )
