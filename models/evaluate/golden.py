"""Golden cases: rows on which two versions differ so clearly that an answer can be told to come from one of them.

Chosen from the outputs, where the full version is also sure of its class, so that honest noise moves no top-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT_SHARE = 1e-4
QUANTISED_SHARE = 1e-3

Rows = NDArray[np.int64]
Logits = NDArray[np.floating[Any]]


def tolerance(logits: Logits, share: float) -> float:
    """Absolute tolerance of golden outputs: this share of the largest one, to two digits."""
    return float(f"{share * float(np.abs(logits).max()):.2g}")


def largest(array: NDArray[Any]) -> float:
    """The largest magnitude among the finite numbers: a share of an infinity would let everything through."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def telling_rows(full: Logits, variant: Logits, count: int, *, gap: float, margin: float = 1.0) -> Rows:
    """The `count` rows on which two versions' logits (n, classes) differ most, in ascending order.

    Args:
        full: of the full version.
        variant: of the variant, for the same rows.
        count: how many rows are wanted.
        gap: least difference, as the largest over the classes, that a row must show.
        margin: least lead of the first class over the second, in both versions, which must agree on the class.

    Raises:
        ValueError: fewer rows than wanted are telling.
    """
    difference = np.abs(full - variant).max(axis=1)
    sure = (_lead(full) >= margin) & (_lead(variant) >= margin) & (full.argmax(axis=1) == variant.argmax(axis=1))
    telling = np.flatnonzero(sure & (difference >= gap))
    if len(telling) < count:
        raise ValueError(f"Only {len(telling)} rows tell the two versions apart by {gap:g}; {count} are wanted.")
    chosen: Rows = np.sort(telling[np.argsort(-difference[telling], kind="stable")[:count]])
    return chosen


def _lead(logits: Logits) -> NDArray[np.float64]:
    top = np.sort(logits, axis=1)[:, -2:].astype(np.float64)
    lead: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return lead
