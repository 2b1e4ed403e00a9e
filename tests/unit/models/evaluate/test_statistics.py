"""Paired statistics against published and hand-computed values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluate.statistics import (
    bonett_price_interval,
    bonett_price_lower,
    mcnemar_exact,
    median_interval,
    needed_samples,
)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (2, 0, 0.5),
        (5, 0, 0.0625),
        (6, 0, 0.03125),
        (5, 1, 14 / 64),
        (10, 3, 0.09228515625),
        (7, 7, 1.0),
        # Agresti, Categorical Data Analysis: the prime minister's approval, 150 against 86.
        (150, 86, 3.7e-05),
        (121, 59, 4.434449e-06),
    ],
)
def test_exact_mcnemar(b: int, c: int, p: float) -> None:
    assert mcnemar_exact(b, c) == pytest.approx(p, rel=1e-2 if b == 150 else 1e-6)
    assert mcnemar_exact(c, b) == mcnemar_exact(b, c)


def test_exact_mcnemar_stays_a_probability_with_thousands_of_discordant_rows() -> None:
    assert 0 < mcnemar_exact(2100, 2000) < 1
    assert mcnemar_exact(5000, 0) == 0.0  # smaller than any float


def test_interval_of_published_data() -> None:
    """Airway hyper-responsiveness of 21 children (Fagerland and others 2014): -0.508 to -0.013."""
    low, high = bonett_price_interval(b=7, c=1, n=21)
    assert (round(low, 3), round(high, 3)) == (-0.508, -0.013)


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 600), (2, 0, 600), (3, 1, 600), (10, 20, 1000), (0, 1, 1)])
def test_interval_by_hand(b: int, c: int, n: int) -> None:
    lost, won = (b + 1) / (n + 2), (c + 1) / (n + 2)
    se = math.sqrt((lost + won - (won - lost) ** 2) / (n + 2))
    low, high = bonett_price_interval(b, c, n)
    assert low == pytest.approx(max(-1, won - lost - 1.959964 * se), abs=1e-6)
    assert high == pytest.approx(min(1, won - lost + 1.959964 * se), abs=1e-6)
    assert bonett_price_lower(b, c, n) == pytest.approx(max(-1, won - lost - 1.644854 * se), abs=1e-6)


def test_no_discordant_row_still_leaves_room_for_doubt() -> None:
    assert bonett_price_lower(0, 0, 600) < 0 < -bonett_price_lower(0, 0, 100)
    assert bonett_price_lower(0, 0, 100) < bonett_price_lower(0, 0, 600)


def test_bounds_mirror_and_never_leave_the_possible() -> None:
    low, high = bonett_price_interval(7, 1, 21)
    mirrored_low, mirrored_high = bonett_price_interval(1, 7, 21)
    assert (mirrored_low, mirrored_high) == pytest.approx((-high, -low))
    assert bonett_price_interval(1, 0, 1)[0] == -1.0


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 0), (-1, 0, 5), (0, -1, 5), (3, 3, 5)])
def test_impossible_counts_are_refused(b: int, c: int, n: int) -> None:
    with pytest.raises(ValueError, match="no discordant counts"):
        bonett_price_lower(b, c, n)


def shown(n: int, discordance: float, margin: float) -> float:
    """How often two equally good versions are shown to be so: drawn 20,000 times."""
    chances = [discordance / 2, discordance / 2, 1 - discordance]
    counts, often = np.unique(np.random.default_rng(0).multinomial(n, chances, 20_000), axis=0, return_counts=True)
    return (
        sum(
            int(times)
            for (b, c, _), times in zip(counts, often, strict=True)
            if bonett_price_lower(int(b), int(c), n) >= -margin
        )
        / 20_000
    )


@pytest.mark.parametrize(
    ("discordance", "margin", "rows"),
    [(0.05, 0.01, 3091), (0.2, 0.01, 12_365), (0.01, 0.001, 61_826)],
)
def test_needed_samples_of_many_discordant_rows_are_those_of_the_plain_formula(
    discordance: float, margin: float, rows: int
) -> None:
    """(z + z_power)^2 share / margin^2, which the interval's added counts leave alone where they are few in many."""
    many = 10**7
    found = needed_samples(round(discordance * many), 0, many, margin)
    assert rows <= found == pytest.approx(rows, rel=0.01)


@pytest.mark.parametrize("discordance", [0.005, 0.01, 0.02, 0.05])
def test_needed_samples_show_it_four_times_in_five(discordance: float) -> None:
    half = round(discordance * 10**6 / 2)
    n = needed_samples(half, half, 10**6, 0.01)
    assert 0.78 <= shown(n, discordance, 0.01) <= 0.84


def test_negative_control_without_the_added_counts_they_show_it_less_often() -> None:
    plain = round(6.1826 * 0.01 / 0.01**2)
    assert shown(plain, 0.01, 0.01) < 0.77


def test_needed_samples_are_no_fewer_where_no_row_was_discordant() -> None:
    assert 0 < needed_samples(0, 0, 10**6, 0.01) < needed_samples(0, 0, 100, 0.01)


def test_median_interval_holds_the_median_and_repeats() -> None:
    values = np.random.default_rng(1).normal(2.0, 0.5, 300)
    low, high = median_interval(values)
    assert low < np.median(values) < high
    assert high - low < 0.2
    assert median_interval(values[::-1]) == (low, high)


def test_median_interval_of_one_value_is_that_value() -> None:
    assert median_interval(np.array([3.0])) == (3.0, 3.0)


@pytest.mark.parametrize("confidence", [0.95, 1 - 0.05 / 3])
@pytest.mark.parametrize("n", [7, 10, 11, 60, 301])
def test_median_interval_covers_the_truth_as_often_as_it_says_exactly_and_no_narrower_one_does(
    n: int, confidence: float
) -> None:
    """Of n values k lie below the median with chance C(n, k) / 2^n, whatever their distribution."""
    low, high = (int(end) for end in median_interval(np.arange(1.0, n + 1), confidence=confidence))
    assert low + high == n + 1  # symmetric

    def covers(ends: int) -> float:
        return 1 - 2 * sum(math.comb(n, k) for k in range(ends)) / 2**n

    assert covers(low) >= confidence > covers(low + 1)


def test_of_few_values_the_interval_is_all_of_them() -> None:
    assert median_interval(np.array([3.0, 1.0, 2.0])) == (1.0, 3.0)


COUNTS = st.integers(0, 400)


@settings(deadline=None)  # the first example imports scipy
@given(b=COUNTS, c=COUNTS)
def test_mcnemar_is_scipys_binomial_test(b: int, c: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    theirs = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(theirs, rel=1e-9)


@given(b=COUNTS, c=COUNTS, more=st.integers(0, 5000))
def test_bounds_are_ordered_and_tighter_with_more_rows(b: int, c: int, more: int) -> None:
    n = b + c + more + 1
    low, high = bonett_price_interval(b, c, n)
    lower = bonett_price_lower(b, c, n)
    assert -1 <= low <= lower <= (c - b) / (n + 2) <= high <= 1
    assert bonett_price_lower(10 * b, 10 * c, 10 * n) >= lower - 1e-12


def trinomial_coverage(n: int, p_b: float, p_c: float) -> float:
    """How often the lower bound lies below the truth, summed exactly over both counts."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    most = int(n * (p_b + p_c) + 12 * math.sqrt(n * (p_b + p_c))) + 10
    total = 0.0
    for b in range(most):
        for c in range(most - b):
            if bonett_price_lower(b, c, n) <= p_c - p_b:
                total += stats.multinomial.pmf([b, c, n - b - c], n, [p_b, p_c, 1 - p_b - p_c])
    return total


@pytest.mark.parametrize(("n", "p_b", "p_c"), [(600, 0.01, 0.01)])
def test_the_bound_covers_the_truth_exactly_summed(n: int, p_b: float, p_c: float) -> None:
    assert trinomial_coverage(n, p_b, p_c) >= 0.94


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 600, 1200, 3000])
@pytest.mark.parametrize(("p_b", "p_c"), [(0.005, 0.005), (0.012, 0.002), (0.02, 0.01), (0.002, 0.012)])
def test_the_bound_covers_the_truth_exactly_summed_long(n: int, p_b: float, p_c: float) -> None:
    assert trinomial_coverage(n, p_b, p_c) >= 0.93
