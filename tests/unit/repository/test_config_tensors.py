"""Sections about tensors: what of them is wrong whatever the graph is like."""

from __future__ import annotations

import pytest

from service.core.errors import BadModel
from service.repository.config_tensors import segments
from service.repository.model_config import read_model_config


def config(dims: str, reshape: str) -> bytes:
    return f"inputs: [{{name: x, datatype: FP32, dims: {dims}, reshape: {reshape}}}]".encode()


@pytest.mark.parametrize(
    ("dims", "reshape"), [("[4]", "[2, 2]"), ("[-1, 4]", "[-1, 2, 2]"), ("[1]", "[]"), ("[2, -1]", "[1, 2, -1]")]
)
def test_a_reshape_of_the_same_elements_is_taken(dims: str, reshape: str) -> None:
    assert read_model_config(config(dims, reshape), "m").inputs[0].reshape is not None


@pytest.mark.parametrize(
    ("dims", "reshape"), [("[4]", "[3]"), ("[4]", "[-1]"), ("[4]", "[-1, 4]"), ("[-1]", "[4]"), ("[-1, 4]", "[4, -1]")]
)
def test_a_reshape_that_no_array_could_follow_is_refused(dims: str, reshape: str) -> None:
    with pytest.raises(BadModel, match="reshape has another number of elements, or of variable axes, than dims"):
        read_model_config(config(dims, reshape), "m")


def test_segments_are_the_elements_between_variable_axes() -> None:
    assert segments([2, 3, -1, 4]) == [6, 4]
    assert segments([]) == [1]
    assert segments([-1, -1]) == [1, 1, 1]


@pytest.mark.parametrize("size", ["0", "-2", "1.5", "many"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(BadModel, match=r"'inputs\.0\.dims\.0'"):
        read_model_config(config(f"[{size}]", "[1]"), "m")
