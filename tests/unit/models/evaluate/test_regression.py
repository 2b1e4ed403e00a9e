"""Errors of regressions by hand, and their bootstrap against known truths."""

import numpy as np
import pytest

from models.evaluate import bootstrap, regression
from models.evaluate.regression import MOST_RATIO, compare, relative_l2, score


def column(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)[:, None]


def test_scores_by_hand() -> None:
    found = score(column(1, 2, 5), column(1, 4, 4))
    assert found.rmse == pytest.approx(np.sqrt(5 / 3))
    assert found.mae == pytest.approx(1.0)
    assert found.r2 == pytest.approx(1 - 5 / 6)


def test_scores_are_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    targets, answers = rng.standard_normal((200, 3)), rng.standard_normal((200, 3))
    found = score(answers, targets)
    assert found.rmse == pytest.approx(metrics.mean_squared_error(targets, answers) ** 0.5)
    assert found.mae == pytest.approx(metrics.mean_absolute_error(targets, answers))
    assert found.r2 == pytest.approx(metrics.r2_score(targets, answers, multioutput="variance_weighted"))


def test_targets_that_do_not_vary_have_no_r2() -> None:
    assert score(column(1, 2), column(3, 3)).r2 is None


def test_axes_of_one_make_no_other_shape_and_other_shapes_are_refused() -> None:
    assert score(np.ones((4, 1)), np.ones(4)).rmse == 0
    with pytest.raises(ValueError, match=r"shape \(4, 2\) do not fit targets of shape \(4, 3\)"):
        score(np.ones((4, 2)), np.ones((4, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_as_0_so_that_every_figure_is_one(bad: float) -> None:
    found = score(column(bad, 2), column(3, 2))
    assert found.rmse == pytest.approx(np.sqrt(9 / 2))
    paired = compare(column(3.5, 2), column(bad, 2), column(3, 2))
    assert np.isfinite(paired.error_ratio)


def test_the_same_answers_err_alike() -> None:
    rng = np.random.default_rng(0)
    targets, answers = rng.standard_normal((100, 2)), rng.standard_normal((100, 2))
    found = compare(answers, answers, targets)
    assert (found.error_ratio, found.error_ratio_interval_95, found.relative_l2) == (1.0, (1.0, 1.0), 0.0)


def test_a_ratio_against_a_version_that_never_errs() -> None:
    targets = column(1, 2, 3)
    assert compare(targets, targets, targets).error_ratio == 1.0
    assert compare(targets, targets + 1, targets).error_ratio == MOST_RATIO
    assert relative_l2(targets * 0, targets) == MOST_RATIO
    assert relative_l2(targets * 0, targets * 0) == 0.0


def test_one_sided_bounds_lie_inside_the_two_sided_interval() -> None:
    rng = np.random.default_rng(3)
    targets = rng.standard_normal((200, 1))
    full, variant = (targets + 0.1 * rng.standard_normal((200, 1)) for _ in range(2))
    found = compare(full, variant, targets)
    low, high = found.error_ratio_interval_95
    assert low < found.error_ratio_lower_95 < found.error_ratio < found.error_ratio_upper_95 < high
    assert compare(full, variant, targets) == found


def test_pairing_is_what_makes_the_interval_narrow() -> None:
    """A hard row is hard for both: drawn together, it cancels; a negative control draws them apart."""
    rng = np.random.default_rng(4)
    targets = np.zeros((300, 1))
    full = rng.standard_normal((300, 1)) * rng.lognormal(0, 1, (300, 1))
    found = compare(full, full * 1.001, targets)
    apart = compare(full, rng.permutation(full * 1.001), targets)
    paired, unpaired = (high - low for low, high in (found.error_ratio_interval_95, apart.error_ratio_interval_95))
    assert paired < 1e-6
    assert unpaired > 0.05


def coverage(draws: int, n: int) -> float:
    """How often the one-sided upper bound lies above the true ratio, 1."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(draws):
        noise = rng.standard_normal((n, 2)) + rng.standard_normal((n, 1))
        squares = noise**2
        means = bootstrap.resampled_means(squares, resamples=1000)
        hits += bootstrap.bounds(np.sqrt(means[:, 0] / means[:, 1])).upper_95 >= 1
    return hits / draws


def test_the_bound_covers_the_truth_about_as_often_as_it_says() -> None:
    assert 0.88 <= coverage(150, 200) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200])
def test_the_bound_covers_the_truth_about_as_often_as_it_says_long(n: int) -> None:
    assert 0.91 <= coverage(600, n) <= 0.98


def test_numbers_of_any_dtype() -> None:
    targets = np.arange(6, dtype=np.float64)[:, None]
    assert regression.score(targets.astype(np.float16), targets).rmse == 0
    assert regression.score(targets.astype(np.int32), targets).rmse == 0
