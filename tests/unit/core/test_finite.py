from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.core.finite import all_finite, not_finite

FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_array_with_a_number_that_is_none_is_named(dtype: str, value: float) -> None:
    array = np.ones((2, 3), dtype)
    assert not_finite(("a", array)) == ""
    array[1, 2] = value
    assert not_finite(("a", array)) == "a"
    assert not all_finite({"b": np.ones(2), "a": array})


@pytest.mark.parametrize(
    "array",
    [np.int64([1]), np.bool_([True]), np.array([b"nan"], object), np.empty((0, 4), "float32"), np.float32([3e38] * 9)],
)
def test_what_holds_no_such_number_is_finite(array: Any) -> None:
    assert not_finite(("a", array)) == ""
    assert all_finite({"a": array})
