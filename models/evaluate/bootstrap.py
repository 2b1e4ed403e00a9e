"""Paired bootstraps: the test rows are drawn again, with both versions' outcomes on them, and the figure taken anew.

Percentile intervals of 10,000 seeded resamples (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13). Below `LEAST_ROWS` rows they are too narrow to be trusted; whoever decides by them must ask for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEAST_ROWS = 50

_CHUNK_NUMBERS = 1 << 22

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a figure: one-sided 95 % bounds, and the two-sided 95 % interval."""

    lower_95: float
    upper_95: float
    interval_95: tuple[float, float]


def bounds(estimates: NDArray[Any]) -> Bounds:
    """Of a figure taken on every resample, (resamples,)."""
    low, lower, upper, high = (float(one) for one in np.quantile(estimates, [0.025, 0.05, 0.95, 0.975]))
    return Bounds(lower, upper, (low, high))


def resampled_means(rows: Floats, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of the columns over rows drawn with replacement.

    Args:
        rows: (n, k): one row's figures stay together, which is what makes it paired.
        resamples: how many.
        seed: of the generator.

    Returns:
        (resamples, k).
    """
    n = len(rows)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_NUMBERS // max(1, rows.size))
    means = [
        rows[generator.integers(0, n, size=(min(chunk, resamples - at), n))].mean(axis=1)
        for at in range(0, resamples, chunk)
    ]
    return np.concatenate(means)


def resampled_counts(counts: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """The same for rows that fall into few cells: how many drawn rows fall into each, (resamples, cells)."""
    return np.concatenate(list(drawn_counts(counts, resamples=resamples, seed=seed)))


def drawn_counts(
    counts: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0, width: int = 1
) -> Iterator[NDArray[np.int64]]:
    """`resampled_counts` in pieces that fit into memory, however many cells there are.

    Args:
        counts: (cells,), rows in each cell; drawing rows is drawing cells from a multinomial distribution.
        resamples: how many.
        seed: of the generator.
        width: how many numbers the caller makes of each resample, where that is more than the cells.
    """
    n, generator = int(counts.sum()), np.random.default_rng(seed)
    chunk = max(1, _CHUNK_NUMBERS // max(1, len(counts), width))
    for at in range(0, resamples, chunk):
        yield generator.multinomial(n, counts / n, size=min(chunk, resamples - at))
