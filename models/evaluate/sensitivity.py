"""How much a row's answer depends on its batch-mates: what decides whether a version's requests may be mixed.

Each row is answered alone, then in batches of several sizes, at several positions, and beside a row 20 times as
large: the company that a scale taken over the whole tensor cannot bear.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.core.contract import Array, Arrays
from service.runtime.runner import Runner

SIZES = (2, 8, 32)
OUTLIER_SCALE = 20

Rows = NDArray[np.int64]


def batch_sensitivity(runner: Runner, inputs: Arrays, sizes: tuple[int, ...] = SIZES) -> float:
    """Largest absolute change of an output of a row, relative to the largest output of all rows alone.

    Args:
        runner: every output has the rows on axis 0.
        inputs: name -> (n, ...), n >= 2; 32 to 64 rows suffice.
        sizes: batch sizes to try.

    Returns:
        0 when no output moved in any company. Outputs that are not numbers count as 1 when they differ.
    """
    n = len(next(iter(inputs.values())))
    alone = [runner.run(_take(inputs, np.array([row]))) for row in range(n)]
    reference = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    scales = {name: _largest(array) for name, array in reference.items()}
    worst = 0.0
    for rows, mates in _companies(n, sizes):
        feed = _take(inputs, rows)
        for mate in mates:
            feed = {name: _with_outlier(array, mate) for name, array in feed.items()}
        kept = np.setdiff1d(np.arange(len(rows)), mates)
        for name, array in runner.run(feed).items():
            worst = max(worst, _change(array[kept], reference[name][rows[kept]], scales[name]))
    return worst


def _companies(n: int, sizes: tuple[int, ...]) -> Iterator[tuple[Rows, tuple[int, ...]]]:
    """Batches of row numbers, each with the positions in it that become outliers."""
    for size in sizes:
        for shift in sorted({0, 1, size // 2}):
            order = np.roll(np.arange(n), shift)
            for start in range(0, n, size):
                yield order[start : start + size], ()
        for start in range(0, n, size):
            rows = np.arange(start, min(start + size, n))
            if len(rows) > 1:
                yield rows, (len(rows) // 2,)


def _take(inputs: Arrays, rows: Rows) -> dict[str, Array]:
    return {name: array[rows] for name, array in inputs.items()}


def _with_outlier(array: Array, row: int) -> Array:
    if array.dtype.kind != "f":
        return array
    spoilt = array.copy()
    spoilt[row] *= OUTLIER_SCALE
    return spoilt


def _largest(array: Array) -> float:
    return float(np.abs(array).max(initial=0)) if array.dtype.kind in "fiu" else 0.0


def _change(array: Array, reference: Array, scale: float) -> float:
    if array.dtype.kind not in "fiu":
        return float(not np.array_equal(array, reference))
    change = float(np.abs(array.astype(np.float64) - reference.astype(np.float64)).max(initial=0))
    return change / scale if scale else change
