"""Bootstraps: paired, seeded, and the same whether rows or cells are drawn."""

import numpy as np
import pytest

from models.evaluate.bootstrap import bounds, drawn_counts, resampled_counts, resampled_means


def test_means_are_of_whole_rows() -> None:
    rows = np.stack([np.arange(50.0), 2 * np.arange(50.0)], axis=1)
    means = resampled_means(rows, resamples=200)
    assert means.shape == (200, 2)
    assert np.allclose(means[:, 1], 2 * means[:, 0])


def test_the_seed_makes_it_repeatable() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 1))
    assert np.array_equal(resampled_means(rows, resamples=50), resampled_means(rows, resamples=50))
    assert not np.array_equal(resampled_means(rows, resamples=50), resampled_means(rows, resamples=50, seed=1))
    counts = np.array([3, 4])
    assert np.array_equal(resampled_counts(counts, resamples=50), resampled_counts(counts, resamples=50))


def test_many_rows_are_drawn_in_parts_and_all_of_them() -> None:
    rows = np.random.default_rng(0).standard_normal((200_000, 1))
    means = resampled_means(rows, resamples=50)
    assert means.shape == (50, 1)
    assert means.std() == pytest.approx(1 / np.sqrt(200_000), rel=0.4)


def test_every_resample_has_as_many_rows() -> None:
    assert (resampled_counts(np.array([0, 5, 95]), resamples=100).sum(axis=1) == 100).all()
    assert (resampled_counts(np.array([0, 5, 95]), resamples=100)[:, 0] == 0).all()


def test_drawing_cells_is_drawing_rows() -> None:
    outcomes = np.repeat([-1, 0, 1], [10, 480, 10])
    by_rows = resampled_means(outcomes[:, None].astype(np.float64))[:, 0]
    by_cells = resampled_counts(np.array([10, 480, 10])) @ np.array([-1, 0, 1]) / 500
    assert by_rows.mean() == pytest.approx(by_cells.mean(), abs=3e-4)
    assert by_rows.std() == pytest.approx(by_cells.std(), rel=0.05)


def test_bounds_of_a_known_distribution() -> None:
    found = bounds(np.linspace(0, 1, 10_001))
    assert (found.lower_95, found.upper_95) == pytest.approx((0.05, 0.95))
    assert found.interval_95 == pytest.approx((0.025, 0.975))


def test_they_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    values = np.random.default_rng(2).exponential(size=120)
    own = bounds(resampled_means(values[:, None])[:, 0])
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=0).confidence_interval
    assert own.interval_95 == pytest.approx((theirs.low, theirs.high), rel=0.02)


def test_pieces_are_what_is_drawn_at_once() -> None:
    counts = np.array([5, 0, 20, 3])
    pieces = list(drawn_counts(counts, resamples=100, width=1 << 17))
    assert len(pieces) > 1
    assert np.array_equal(np.concatenate(pieces), np.random.default_rng(0).multinomial(28, counts / 28, size=100))
