"""Scores and paired comparison on logits small enough to be counted by hand."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from models.evaluate.quality import NO_CLASS, by_class, compare, macro_f1_differences, predicted, score

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def logits(*classes: int, of: int = 3) -> Array:
    """Confident logits for these classes."""
    return (np.eye(of, dtype=np.float32)[list(classes)] * 10).astype(np.float32)


def labels(*classes: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(classes, dtype=np.int64)


def test_scores_by_hand() -> None:
    found = score(logits(0, 0, 1, 1, 2), labels(0, 1, 1, 1, 0))
    assert (found.n, found.accuracy, found.non_finite_rows) == (5, 3 / 5, 0)
    assert found.support_by_class == (2, 3, 0)
    assert found.recall_by_class == (1 / 2, 2 / 3, 0.0)
    # Class 2 never occurs in the labels and stays out of the means.
    assert found.macro_recall == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.macro_precision == pytest.approx((1 / 2 + 1) / 2)
    assert found.macro_f1 == pytest.approx((1 / 2 + 4 / 5) / 2)


def test_a_class_never_guessed_has_precision_0() -> None:
    found = score(logits(0, 0), labels(0, 1))
    assert found.macro_precision == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_has_no_class_and_is_wrong(value: float) -> None:
    bad = logits(0, 1)
    bad[0, 2] = value
    assert predicted(bad).tolist() == [NO_CLASS, 1]
    found = score(bad, labels(0, 1))
    assert (found.accuracy, found.non_finite_rows) == (0.5, 1)


def test_negative_control_plain_argmax_would_have_called_it_right() -> None:
    bad = logits(0)
    bad[0, 2] = -np.inf
    assert int(bad.argmax(axis=1)[0]) == 0
    assert score(bad, labels(0)).accuracy == 0.0


def test_paired_counts_by_hand() -> None:
    truth = labels(0, 0, 1, 1, 2, 2)
    full = logits(0, 0, 1, 2, 0, 1)
    variant = logits(0, 1, 1, 1, 1, 1)  # loses row 1, wins row 3, row 4 is wrong in both but differs
    found = compare(full, variant, truth)
    assert (found.b, found.c, found.flips) == (1, 1, 3)
    assert found.delta == 0.0
    assert found.agreement == 0.5
    assert found.full_accuracy == 0.5
    assert found.full_recall_by_class == (1.0, 0.5, 0.0)
    assert found.mcnemar_p == 1.0
    low, high = found.delta_interval_95
    assert low < found.delta_lower_95 < 0 < high


def test_equal_versions_agree_in_everything() -> None:
    same = logits(0, 1, 2)
    found = compare(same, same, labels(0, 1, 2))
    assert (found.b, found.c, found.flips, found.agreement) == (0, 0, 0, 1.0)
    assert (found.mean_kl, found.max_abs_dp) == (0.0, 0.0)


def test_divergence_by_hand() -> None:
    full = np.log(np.array([[0.5, 0.5]], dtype=np.float64))
    variant = np.log(np.array([[0.75, 0.25]], dtype=np.float64))
    found = compare(full, variant, labels(0))
    assert found.mean_kl == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), rel=1e-5)
    assert found.max_abs_dp == pytest.approx(0.25)


def test_divergence_bears_huge_logits() -> None:
    full = np.array([[1e30, 0.0]], dtype=np.float32)
    found = compare(full, full * 0.5, labels(0))
    assert found.max_abs_dp == 0.0


def test_a_row_without_a_class_agrees_with_nothing_not_even_its_like() -> None:
    bad = logits(0, 1)
    bad[0] = np.nan
    found = compare(bad, bad, labels(0, 1))
    assert (found.flips, found.agreement, found.b) == (1, 0.5, 0)
    assert found.mean_kl == 0.0


def test_nothing_finite_gives_no_divergence_and_no_agreement() -> None:
    bad = np.full((2, 3), np.nan, dtype=np.float32)
    found = compare(logits(0, 1), bad, labels(0, 1))
    assert (found.b, found.agreement, found.mean_kl, found.max_abs_dp) == (2, 0.0, 0.0, 0.0)


def random_guesses(n: int, flips: float, seed: int = 0) -> tuple[np.ndarray[Any, Any], ...]:
    """Labels of five uneven classes, a full version's guesses and a variant's, of which some are flipped."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, n, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    full = np.where(rng.random(n) < 0.1, rng.integers(0, 5, n), truth)
    return truth, full, np.where(rng.random(n) < flips, rng.integers(0, 5, n), full)


def test_bounds_of_macro_f1_are_those_of_drawing_rows() -> None:
    truth, full, variant = random_guesses(400, 0.05)
    cells = macro_f1_differences(full, variant, truth, 5)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(1000):
        at = rng.integers(0, 400, 400)
        ours, theirs = (score(np.eye(5)[one[at]], truth[at]).macro_f1 for one in (variant, full))
        drawn.append(ours - theirs)
    assert cells.shape == (10_000,)
    assert cells.mean() == pytest.approx(np.mean(drawn), abs=0.003)
    assert cells.std() == pytest.approx(np.std(drawn), rel=0.1)


def test_macro_f1_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    truth, full, variant = random_guesses(400, 0.05)
    found = compare(np.eye(5)[full], np.eye(5)[variant], truth)
    assert found.full_macro_f1 == pytest.approx(metrics.f1_score(truth, full, average="macro"))
    assert found.macro_f1_lower_95 is not None
    assert found.macro_f1_upper_95 is not None
    exact = metrics.f1_score(truth, variant, average="macro") - found.full_macro_f1
    assert found.macro_f1_lower_95 < exact < found.macro_f1_upper_95


def test_a_row_without_a_class_counts_against_its_class() -> None:
    truth = labels(*([0, 1] * 50))
    whole, spoilt = logits(*([0, 1] * 50)), logits(*([0, 1] * 50))
    spoilt[::4] = np.nan
    found = compare(whole, spoilt, truth)
    assert found.macro_f1_upper_95 is not None
    assert found.macro_f1_upper_95 < -0.05


def test_logits_of_other_forms() -> None:
    assert by_class(np.ones((4, 3, 1, 1))).shape == (4, 3)
    assert by_class(np.ones((4, 3), np.float16)).dtype == np.float32
    for shape in ((4,), (4, 1), (4, 3, 2)):
        with pytest.raises(ValueError, match="is no classifier's"):
            by_class(np.ones(shape))
    with pytest.raises(ValueError, match="do not fit"):
        score(logits(0, 1), labels(0, 1, 2))


def test_many_classes_take_a_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 1500, 800)
    full, variant = (np.where(rng.random(800) < 0.8, truth, rng.integers(NO_CLASS, 1500, 800)) for _ in range(2))
    tracemalloc.start()
    try:
        found = macro_f1_differences(full, variant, truth, 1500)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 10_000
    assert peak_bytes < 300 << 20
