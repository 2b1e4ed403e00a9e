"""K-means of a tensor's values, in one dimension: few shared values in place of many, and which of them each one takes.

Lloyd's steps on sorted values with prefix sums, so that a step costs a search per centroid and not a pass over the
values. Zero may be kept as a value of its own, so that pruned weights stay pruned. Knows nothing of models.
Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016), section 3; centroids start evenly spread, as they found best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_STEPS = 300
_MOST_CLUSTERS = 1 << 16
_Exact = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clustering:
    """Shared values and who takes which.

    Attributes:
        codebook: (k,) float32, ascending, but with 0.0 first where zero was kept and occurs; each value is used.
        indices: (n,) uint8, or uint16 where there are more than 256 values; `codebook[indices]` are the new values.
    """

    codebook: Floats
    indices: npt.NDArray[np.unsignedinteger]

    def values(self) -> Floats:
        """The shared values in the places of the old ones, (n,) float32."""
        return np.asarray(self.codebook[self.indices], dtype=np.float32)


def cluster(values: Floats, k: int, *, keep_zero: bool = True) -> Clustering:
    """Groups values into at most `k` clusters with a small sum of squared distances to their means.

    Args:
        values: (n,) float32, finite.
        k: how many values may be left, the zero included; at most 65,536.
        keep_zero: zeros stay exactly zero, and other values take another shared value than zero where there is one.

    Returns:
        As many shared values as are used; the values themselves where there are no more than `k` different ones.

    Raises:
        ValueError: `k` is too small or too large, the values are not a row of finite numbers, or there are none.
    """
    _check(values, k)
    distinct = np.unique(values + np.float32(0))  # -0.0 + 0.0 is 0.0, so that there is one zero
    if len(distinct) <= k:
        return _assigned(values, distinct, keep_zero)
    zeros = keep_zero and bool((distinct == 0).any())
    if zeros and k < 2:
        raise ValueError("One cluster cannot hold zero apart from other values; allow at least two.")
    others = np.sort(values[values != 0] if zeros else values).astype(np.float64)
    centroids = _lloyd(others, k - zeros).astype(np.float32)
    return _assigned(values, np.unique(np.append(centroids, np.float32(0)) if zeros else centroids), keep_zero)


def _check(values: Floats, k: int) -> None:
    if not 1 <= k <= _MOST_CLUSTERS:
        raise ValueError(f"There can be 1 to {_MOST_CLUSTERS} clusters, not {k}.")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"What is clustered is a row of finite numbers; this one has the shape {values.shape}.")


def _lloyd(ordered: _Exact, k: int) -> _Exact:
    """Centroids of ascending values, ascending; fewer than `k` only where values coincide."""
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    squares = np.concatenate(([0.0], np.cumsum(ordered * ordered)))
    centroids = np.linspace(ordered[0], ordered[-1], k)
    for _ in range(_STEPS):
        edges = _edges(ordered, centroids)
        counts = np.diff(edges)
        filled = counts > 0
        moved = np.diff(sums[edges])[filled] / counts[filled]
        if not filled.all():
            errors = np.diff(squares[edges])[filled] - moved * moved * counts[filled]
            moved = _split(ordered, edges[:-1][filled], counts[filled], moved, errors, int((~filled).sum()))
        if len(moved) == len(centroids) and np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def _edges(ordered: _Exact, centroids: _Exact) -> npt.NDArray[np.int64]:
    """Where each cluster begins, and the end: a value belongs to the nearest centroid."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.concatenate(([0], np.searchsorted(ordered, middles), [len(ordered)])).astype(np.int64)


def _split(
    ordered: _Exact,
    starts: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    means: _Exact,
    errors: _Exact,
    free: int,
) -> _Exact:
    """Gives the centroids that nobody took to the clusters that err most: one each, at their farther end.

    Evenly spread centroids leave the thin tails of weights empty; without this a third of the codebook would be lost.
    """
    worst = np.argsort(-errors, kind="stable")[:free]
    low, high = ordered[starts], ordered[starts + counts - 1]
    ends = np.where(means - low > high - means, low, high)
    return np.unique(np.concatenate((means, ends[worst])))


def _assigned(values: Floats, codebook: Floats, keep_zero: bool) -> Clustering:
    """Each value takes the nearest of an ascending codebook; a zero alone takes zero, and zero alone is taken by it."""
    middles = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    indices = np.searchsorted(middles, values.astype(np.float64))
    zero = np.flatnonzero(codebook == 0)
    if keep_zero and len(zero) and (values == 0).any():
        indices = _zero_first(values, codebook, indices, int(zero[0]))
        codebook = np.concatenate((codebook[zero], np.delete(codebook, zero)))
    used, indices = np.unique(indices, return_inverse=True)
    kind = np.uint8 if len(used) <= 1 << 8 else np.uint16
    return Clustering(codebook[used].astype(np.float32), indices.astype(kind))


def _zero_first(values: Floats, codebook: Floats, indices: npt.NDArray[np.int64], zero: int) -> npt.NDArray[np.int64]:
    """Indices into the codebook with its zero moved to the front; small values go to their neighbour, not to zero."""
    strays = (indices == zero) & (values != 0) & (len(codebook) > 1)
    upward = (values > 0) & (zero + 1 < len(codebook)) | (zero == 0)
    indices = np.where(strays, np.where(upward, zero + 1, zero - 1), indices)
    return np.where(values == 0, 0, np.where(indices < zero, indices + 1, indices))
