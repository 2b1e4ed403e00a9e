"""Typed contents: every datatype from its field, and everything that does not fit refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from service.core.contract import DTYPES
from service.core.errors import BadInput
from service.gateway.grpc.contents import array_of

CASES = [
    ("BOOL", "bool_contents", [True, False]),
    ("INT8", "int_contents", [-128, 127]),
    ("INT16", "int_contents", [-(1 << 15), (1 << 15) - 1]),
    ("INT32", "int_contents", [-(1 << 31), (1 << 31) - 1]),
    ("INT64", "int64_contents", [-(1 << 63), (1 << 63) - 1]),
    ("UINT8", "uint_contents", [0, 255]),
    ("UINT16", "uint_contents", [0, (1 << 16) - 1]),
    ("UINT32", "uint_contents", [0, (1 << 32) - 1]),
    ("UINT64", "uint64_contents", [0, (1 << 64) - 1]),
    ("FP32", "fp32_contents", [0.5, float("inf")]),
    ("FP64", "fp64_contents", [0.1, -1e300]),
    ("BYTES", "bytes_contents", [b"", b"\xff\x00"]),
]


def contents(**fields: Any) -> Any:
    return service_pb2.InferTensorContents(**fields)


@pytest.mark.parametrize(("datatype", "field", "values"), CASES)
def test_each_datatype_comes_from_its_field(datatype: str, field: str, values: list[Any]) -> None:
    array = array_of(contents(**{field: values}), [2, 1], datatype, "x")
    assert (array.shape, array.dtype) == ((2, 1), DTYPES[datatype])
    assert array.reshape(-1).tolist() == values


@pytest.mark.parametrize(
    ("datatype", "values"),
    [("INT8", [128]), ("INT8", [-129]), ("INT16", [1 << 15]), ("UINT8", [256]), ("UINT16", [1 << 16])],
)
def test_a_value_that_would_wrap_is_refused(datatype: str, values: list[int]) -> None:
    field = "uint_contents" if datatype.startswith("U") else "int_contents"
    with pytest.raises(BadInput, match=f"input 'x' holds a value outside {datatype}"):
        array_of(contents(**{field: values}), [1], datatype, "x")


@pytest.mark.parametrize(
    ("message", "shape", "datatype", "words"),
    [
        (contents(fp32_contents=[1.0]), [2], "FP32", "has 1 elements, its shape asks for 2"),
        (contents(), [1], "FP32", "has 0 elements, its shape asks for 1"),
        (contents(fp64_contents=[1.0]), [1], "FP32", "has 'fp64_contents', expected 'fp32_contents'"),
        (contents(fp32_contents=[1.0], int_contents=[1]), [1], "FP32", "has 'int_contents'"),
        (contents(), [0], "FP16", "which only 'raw_input_contents' can carry"),
    ],
)
def test_what_does_not_fit_is_refused(message: Any, shape: list[int], datatype: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        array_of(message, shape, datatype, "x")


def test_no_elements_are_an_empty_array() -> None:
    assert array_of(contents(), [0, 3], "INT8", "x").shape == (0, 3)


MANY = 150_000


@pytest.mark.parametrize(("datatype", "field", "values"), CASES)
def test_many_values_are_read_piece_by_piece(datatype: str, field: str, values: list[Any]) -> None:
    """Nobody else runs while numpy reads a list: half a second for eight million values at once."""

    class Noted(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            pieces.append(len(range(*at.indices(MANY))))
            return list(super().__getitem__(at))

    class Contents:
        def ListFields(self) -> list[Any]:
            return []

    pieces: list[int] = []
    message, given = Contents(), values * (MANY // 2)
    setattr(message, field, Noted(given))
    assert array_of(message, [MANY], datatype, "x").tolist() == given
    assert pieces == [1 << 16, 1 << 16, MANY - (2 << 16)]


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=9))
def test_no_integer_ever_changes(values: list[int]) -> None:
    for datatype in ("INT8", "INT16", "INT32"):
        limits = np.iinfo(DTYPES[datatype])
        fits = all(limits.min <= value <= limits.max for value in values)
        try:
            assert array_of(contents(int_contents=values), [len(values)], datatype, "x").tolist() == values
            assert fits
        except BadInput:
            assert not fits
