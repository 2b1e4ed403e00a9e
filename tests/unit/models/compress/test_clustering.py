"""K-means by hand: against exhaustive search on small rows, and what it keeps on any row."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from models.compress.clustering import Floats, cluster

ROWS = drawn.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.one_of(st.just(0.0), st.floats(-4, 4, width=32)),
)


def error(values: Floats, shared: Floats) -> float:
    return float(((values.astype(np.float64) - shared) ** 2).sum())


def best_error(values: Floats, k: int) -> float:
    """The least error of any cut of the ascending values into k runs; in one dimension the best clusters are runs."""
    ordered = np.sort(values.astype(np.float64))
    cuts = combinations(range(1, len(ordered)), k - 1)
    return min(sum(float(run.var()) * len(run) for run in np.split(ordered, list(cut))) for cut in cuts)


@given(ROWS, st.integers(2, 20), st.booleans())
@settings(deadline=None)
def test_what_any_clustering_keeps(values: Floats, k: int, keep_zero: bool) -> None:
    found = cluster(values, k, keep_zero=keep_zero)
    shared = found.values()
    assert len(found.codebook) <= k
    assert found.indices.dtype == np.uint8
    assert set(found.indices.tolist()) == set(range(len(found.codebook))), "each shared value is used"
    assert len(np.unique(found.codebook)) == len(found.codebook)
    if len(np.unique(values)) <= k:
        np.testing.assert_array_equal(shared, values)
    if keep_zero and (values == 0).any():
        assert found.codebook[0] == 0
        assert (shared[values == 0] == 0).all()
        assert len(found.codebook) == 1 or (shared[values != 0] != 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_it_is_near_the_best_possible(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=14).astype(np.float32)
    found = error(values, cluster(values, 4).values())
    assert found <= 2.5 * best_error(values, 4)


def test_on_average_it_is_nearer_still() -> None:
    rows = [np.random.default_rng(seed).normal(size=14).astype(np.float32) for seed in range(20)]
    assert sum(error(row, cluster(row, 4).values()) for row in rows) <= 1.3 * sum(best_error(row, 4) for row in rows)


def test_the_centroids_are_their_values_means() -> None:
    values = np.random.default_rng(0).normal(size=5_000).astype(np.float32)
    found = cluster(values, 16)
    means = [values[found.indices == index].mean(dtype=np.float64) for index in range(16)]
    np.testing.assert_allclose(found.codebook, means, atol=1e-6)


def test_it_is_far_better_than_evenly_spread_values() -> None:
    values = np.random.default_rng(0).standard_t(3, size=20_000).astype(np.float32)
    even = np.linspace(values.min(), values.max(), 32)
    nearest = even[np.abs(values[:, None] - even).argmin(axis=1)]
    assert error(values, cluster(values, 32).values()) < error(values, nearest) / 5


def test_a_zero_that_is_not_kept_is_a_value_like_others() -> None:
    values = np.array([0, 0.1, 0.1, 5, 5.1], np.float32)
    shared = cluster(values, 2, keep_zero=False).values()
    assert shared[0] == pytest.approx(0.2 / 3)


def test_small_values_do_not_join_the_zeros() -> None:
    values = np.array([0, 0, 1e-3, -1e-3, 1, -1, 1.1, -1.1], np.float32)
    shared = cluster(values, 3).values()
    assert (shared[2:] != 0).all()
    assert (shared[:2] == 0).all()


def test_values_whose_mean_is_zero_and_no_room_for_another() -> None:
    assert cluster(np.array([0, -1, 1], np.float32), 2).values().tolist() == [0, 0, 0]


def test_more_than_256_values_take_wider_indices() -> None:
    found = cluster(np.arange(1_000, dtype=np.float32), 300)
    assert found.indices.dtype == np.uint16
    assert len(found.codebook) == 300


def test_minus_zero_is_zero() -> None:
    found = cluster(np.array([-0.0, 0.0, 1.0], np.float32), 2)
    assert found.codebook.tolist() == [0.0, 1.0]
    assert not np.signbit(found.values()).any()


@pytest.mark.parametrize(
    ("values", "k", "said"),
    [
        (np.zeros(3, np.float32), 0, "1 to 65536 clusters, not 0"),
        (np.zeros(3, np.float32), 1 << 17, "not 131072"),
        (np.zeros((2, 2), np.float32), 2, r"shape \(2, 2\)"),
        (np.zeros(0, np.float32), 2, "a row of finite numbers"),
        (np.array([np.nan], np.float32), 2, "finite"),
        (np.array([0, 1, 2], np.float32), 1, "allow at least two"),
    ],
)
def test_what_cannot_be_clustered(values: Floats, k: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cluster(values, k)
