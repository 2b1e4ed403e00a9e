"""The ratio that a typical round shows: exact level in any noise, and not undone by the rounds of a slow spell."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from loadtests.measures.observed import Observed
from loadtests.measures.paired import LEAST_ROUNDS, _signed_rank, paired_ratio, ratio_of
from tests.unit.loadtests.blocks import block


def pairs(seed: int, times: float = 1.0, count: int = 20) -> list[tuple[float, float]]:
    """Rounds of very different noise: one in seven is torn apart, whichever of the two it falls on."""
    random = np.random.default_rng(seed)
    noise = random.normal(0, 0.05, count) * np.exp(random.normal(0, 0.5, count))
    torn = (random.random(count) < 0.15) * random.normal(0, 1, count)
    return [(times * math.exp(one), 1.0) for one in noise + torn]


def test_the_sum_of_signed_ranks_has_the_odds_that_counting_gives() -> None:
    sums = [sum(rank for rank in range(1, 6) if chosen >> (rank - 1) & 1) for chosen in range(32)]
    assert _signed_rank(5) == pytest.approx(np.bincount(sums) / 32)
    assert _signed_rank(12).sum() == pytest.approx(1)


def test_it_agrees_with_the_test_of_signed_ranks() -> None:
    """An end of the interval lies at 1 just where scipy's exact test of "no difference" turns."""
    for seed in range(20):
        seen = pairs(seed, times=1.05)
        found = paired_ratio(seen, confidence=0.95)
        p = stats.wilcoxon([math.log(one / other) for one, other in seen], method="exact").pvalue
        assert found.excludes_one is bool(p <= 0.05)


def test_equal_versions_are_told_apart_no_oftener_than_stated() -> None:
    told = [paired_ratio(pairs(seed), confidence=0.95).excludes_one for seed in range(1000)]
    assert np.mean(told) <= 0.065


def test_rounds_of_a_slow_spell_do_not_hide_a_tenth() -> None:
    """The negative control is Student's interval of the same logarithms."""

    def student(seen: list[tuple[float, float]]) -> bool:
        return bool(stats.ttest_1samp(np.log([one for one, _ in seen]), 0).pvalue < 0.05)

    told = [pairs(seed, times=1.1, count=30) for seed in range(300)]
    assert np.mean([paired_ratio(one).excludes_one for one in told]) >= 0.9
    assert np.mean([student(one) for one in told]) < 0.5


def test_the_ratio_is_the_typical_one_and_turns_with_its_sides() -> None:
    seen = pairs(3, times=1.3)
    found, turned = paired_ratio(seen), paired_ratio([(other, one) for one, other in seen])
    assert found.value == pytest.approx(1.3, rel=0.05) and turned.value == pytest.approx(1 / found.value)
    assert found.interval is not None and turned.interval is not None
    assert turned.interval == pytest.approx((1 / found.interval[1], 1 / found.interval[0]))


def test_too_few_rounds_have_a_ratio_but_no_interval() -> None:
    few, enough = (paired_ratio([(2.0, 1.0)] * count, confidence=0.975) for count in (LEAST_ROUNDS - 1, LEAST_ROUNDS))
    assert few.value == 2 and few.interval is None
    assert enough.interval == (2, 2)


def test_more_confidence_is_a_wider_interval() -> None:
    wide = [paired_ratio(pairs(1), confidence=one).interval for one in (0.8, 0.95, 0.99)]
    assert all(one and other and other[0] < one[0] and one[1] < other[1] for one, other in pairwise(wide))


def test_what_is_no_ratio_is_left_out_and_nothing_left_is_none() -> None:
    assert paired_ratio([(2.0, 1.0), (float("nan"), 1.0), (1.0, 0.0)]).value == 2
    assert math.isnan(paired_ratio([]).value)


def test_rounds_are_joined_until_an_answer_lies_beyond_the_percentile() -> None:
    """40 answers a round: three rounds make one p99, which a single round's largest would not be."""
    random = np.random.default_rng(0)
    own, full = (
        [block(factor * np.exp(random.normal(0, 0.3, 40)), number=at) for at in range(24)] for factor in (1.5, 1.0)
    )
    tail, middle = (ratio_of(own, full, percent, confidence=0.975) for percent in (99.0, 50.0))
    assert tail.interval is not None and tail.value == pytest.approx(1.5, rel=0.15)
    assert middle.interval is not None and middle.value == pytest.approx(1.5, rel=0.05)
    assert ratio_of(own[:18], full[:18], 99.0, confidence=0.975).interval is None  # six joined rounds


def test_what_is_left_over_in_the_end_is_no_round_of_its_own() -> None:
    def rounds(last: float) -> list[Observed]:
        return [block([value] * 60, number=at) for at, value in enumerate((2.0, 2.0, last))]

    found = ratio_of(rounds(2.0), rounds(1.0), 99.0)
    assert found.value == pytest.approx(1.0), "sixty answers alone tell of no p99"


def test_rounds_without_an_answer_go_with_the_next() -> None:
    own = [block([5.0, 5.0], number=0), block([5.0], number=1, status=[503]), block([5.0, 5.0], number=2)]
    full = [block([5.0, 5.0], number=at) for at in range(3)]
    assert ratio_of(own, full, 50.0).value == pytest.approx(1)
    none = [block([5.0], number=at, status=[503]) for at in range(3)]
    assert math.isnan(ratio_of(none, full, 50.0).value)
