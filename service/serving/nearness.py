"""Is one array the other, as far as the same version must give it again beside other rows? Coarse: wrong is far off.

How near golden cases must come is `golden`'s, and what may share a batch is `batchability`'s.
"""

from __future__ import annotations

import numpy as np

from service.core.contract import Array, Arrays

RELATIVE_TOLERANCE = 1e-2


def near(expected: Arrays, found: Arrays) -> bool:
    """Whether every array of `expected` is in `found`, and near."""
    return all(name in found and near_array(array, found[name]) for name, array in expected.items())


def near_array(expected: Array, found: Array) -> bool:
    """Whether shape and dtype are equal, and floats within 1 % of their own size or of the largest; NaN equals NaN.

    Values that are no floats are not compared: a class may change between two near scores.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if expected.dtype.kind != "f" or expected.tobytes() == found.tobytes():  # as a rule, and a hundredth of the work
        return True
    wide, got = expected.astype(np.float64), found.astype(np.float64)
    scale = float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0))
    return np.allclose(wide, got, rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE * scale, equal_nan=True)
