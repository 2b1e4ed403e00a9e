"""How much a row's answer depends on its batch-mates: what decides whether a version's requests may be mixed.

Each row is answered alone, then in batches of several sizes, at several positions, and beside the company that a scale
taken over the whole tensor cannot bear: a row 20 times as large, and of tokens a row that is one token over and over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.contract import Array, Arrays
from service.runtime.runner import Runner

SIZES = (2, 8, 32)
OUTLIER_SCALE = 20
# Whole numbers that take no more values than these are a mask or a type, not tokens.
MASK_VALUES = 2

Rows = NDArray[np.int64]


def batch_sensitivity(runner: Runner, inputs: Arrays, sizes: tuple[int, ...] = SIZES) -> float:
    """Largest absolute change of an output of a row, relative to the largest output of all rows alone.

    Args:
        runner: every output has the rows on axis 0.
        inputs: name -> (n, ...), n >= 2; 32 to 64 rows suffice.
        sizes: batch sizes to try.

    Returns:
        0 when no output moved in any company. Outputs that are not numbers count as 1 when they differ, and so does a
        number that is finite in one company and not in another.
    """
    n = len(next(iter(inputs.values())))
    alone = [runner.run(_take(inputs, np.array([row]))) for row in range(n)]
    reference = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    scales = {name: _largest(array) for name, array in reference.items()}
    worst = 0.0
    extremes = _extreme_tokens(inputs)
    for rows, mate in _companies(n, sizes):
        feed = _take(inputs, rows)
        kept = np.delete(np.arange(len(rows)), [] if mate is None else mate)
        feeds = [feed] if mate is None else [_with_outlier(feed, mate, tokens) for tokens in extremes]
        for outputs in map(runner.run, feeds):
            for name, array in outputs.items():
                worst = max(worst, _change(array[kept], reference[name][rows[kept]], scales[name]))
    return worst


def _companies(n: int, sizes: tuple[int, ...]) -> Iterator[tuple[Rows, int | None]]:
    """Batches of row numbers, each with the position in it that becomes an outlier; None in those without one."""
    for size in sizes:
        for shift in sorted({0, 1, size // 2}):
            order = np.roll(np.arange(n), shift)
            for start in range(0, n, size):
                yield order[start : start + size], None
        for start in range(0, n, size):
            rows = np.arange(start, min(start + size, n))
            if len(rows) > 1:
                yield rows, len(rows) // 2


def _take(inputs: Arrays, rows: Rows) -> dict[str, Array]:
    return {name: array[rows] for name, array in inputs.items()}


def _extreme_tokens(inputs: Arrays) -> tuple[Mapping[str, int], ...]:
    """Tokens that occur, by input: the smallest of each, and the largest; one empty mapping where there are none."""
    values = {name: np.unique(array) for name, array in inputs.items() if array.dtype.kind in "iu" and array.ndim > 1}
    tokens = {name: found for name, found in values.items() if len(found) > MASK_VALUES}
    return tuple({name: int(found[end]) for name, found in tokens.items()} for end in (0, -1)) if tokens else ({},)


def _with_outlier(feed: Arrays, row: int, tokens: Mapping[str, int]) -> dict[str, Array]:
    """The feed with one row of floats made larger, and of tokens all the same; masks and texts stay as they are."""
    spoilt = {name: array.copy() for name, array in feed.items()}
    for name, array in spoilt.items():
        if array.dtype.kind == "f":
            array[row] *= OUTLIER_SCALE
        elif name in tokens:
            array[row] = tokens[name]
    return spoilt


def _largest(array: Array) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0)) if array.dtype.kind in "fiu" else 0.0


def _change(array: Array, reference: Array, scale: float) -> float:
    if array.dtype.kind not in "fiu":
        return float(not np.array_equal(array, reference))
    found, expected = array.astype(np.float64), reference.astype(np.float64)
    both = np.isfinite(found) & np.isfinite(expected)
    if not np.array_equal(found[~both], expected[~both], equal_nan=True):  # no comparison with NaN is ever larger
        return 1.0
    change = float(np.abs(found[both] - expected[both]).max(initial=0))
    return change / scale if scale else change
