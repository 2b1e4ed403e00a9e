"""Which arrays hold numbers that are none."""

from __future__ import annotations

import numpy as np

from service.core.contract import Array, Arrays


def not_finite(named: tuple[str, Array]) -> str:
    """The name of an array that holds NaN or infinity; "" for every other."""
    name, array = named
    if array.dtype.kind != "f":
        return ""
    finite = np.isfinite(array)
    return "" if np.count_nonzero(finite) == finite.size else name  # half the time of `all`, which is on every way


def all_finite(arrays: Arrays) -> bool:
    """Whether no array holds NaN or infinity."""
    return not any(map(not_finite, arrays.items()))
