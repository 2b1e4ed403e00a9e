"""What the verdict is worth: equal versions are told equal, and a tenth more latency is found.

Rounds are made up, with noise of the kinds that real runs show, in sizes that are assumed: the machine's mood wanders
from round to round and falls a little differently on the two blocks of one round, in some rounds far more than in
others; a slow spell comes and goes, and tears through blocks, or parts of them, for as long as it lasts. Real runs of a
server with a known latency are in tests/loadtests/test_planted.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from loadtests.measures.observed import Observed
from loadtests.measures.resampling import Figure
from loadtests.verdict import CONFIDENCE, versus
from tests.unit.loadtests.blocks import block

RUNS, ROUNDS, REQUESTS = 100, 30, 200


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of logarithms, and the odds of spells.

    Attributes:
        request: of one request's latency.
        wander: of the mood, from round to round.
        block: between the two blocks of a round.
        uneven: of `block` itself, from round to round.
        begins: odds that a slow spell begins before a block.
        goes_on: odds that one goes on to the next block.
    """

    request: float = 0.35
    wander: float = 0.10
    block: float = 0.05
    uneven: float = 0.0
    begins: float = 0.03
    goes_on: float = 0.5


USUAL = Noise()
# Other work takes turns with the server: every third block is in a spell.
BUSY = Noise(block=0.08, uneven=0.5, begins=0.15, goes_on=0.7)


def rounds(times: float, seed: int, noise: Noise = USUAL, count: int = ROUNDS) -> tuple[list[Observed], list[Observed]]:
    """(own, full): blocks of a version that takes `times` as long as the other, in random order within each round."""
    random = np.random.default_rng([seed, int(times * 100)])
    mood, slow = np.cumsum(random.normal(0, noise.wander, count)), False
    own, full = [], []
    for at in range(count):
        spread = noise.block * np.exp(random.normal(0, noise.uneven))
        for which in random.permutation(2):
            slow = random.random() < (noise.goes_on if slow else noise.begins)
            values = _latencies(random, noise.request, mood[at] + random.normal(0, spread), slow)
            if which:
                own.append(block(values * times, version="own", number=at))
            else:
                full.append(block(values, version="full", number=at))
    return own, full


def _latencies(random: np.random.Generator, spread: float, mood: float, slow: bool) -> np.ndarray:
    values = 5 * np.exp(random.normal(0, spread, REQUESTS) + mood)
    if slow:
        begin = random.integers(0, REQUESTS // 2)
        values[begin : begin + random.integers(REQUESTS // 10, REQUESTS)] *= random.uniform(1.2, 6)
    return values


def share(times: float, wanted: str, noise: Noise = USUAL) -> float:
    found = [versus(*rounds(times, seed, noise), agreement=None).difference for seed in range(RUNS)]
    return float(np.mean([one == wanted for one in found]))


@pytest.mark.parametrize("noise", [USUAL, BUSY])
def test_a_version_against_itself_is_told_equal(noise: Noise) -> None:
    assert share(1.0, "no difference", noise) >= 0.9  # 95 % stated; 100 runs fall below 90 % once in forty


@pytest.mark.parametrize(("times", "wanted"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_tenth_more_or_less_latency_is_found(times: float, wanted: str) -> None:
    assert share(times, wanted) >= 0.9


def test_half_as_much_again_is_found_on_a_busy_machine_with_twice_the_rounds() -> None:
    found = [versus(*rounds(1.5, seed, BUSY, 2 * ROUNDS), agreement=None).difference for seed in range(RUNS // 4)]
    assert found.count("slower") >= 0.9 * len(found)


def test_intervals_of_means_would_miss_that_tenth() -> None:
    """The negative control: Student's intervals of the same rounds' ratios, which a few spells tear wide open."""

    def student(seed: int) -> bool:
        own, full = ([np.percentile(one.latency_ms, (50, 99)) for one in side] for side in rounds(1.1, seed))
        logs = np.log(own) - np.log(full)
        return bool((stats.ttest_1samp(logs, 0).pvalue < 1 - CONFIDENCE).any())

    assert np.mean([student(seed) for seed in range(RUNS)]) < 0.8


def test_without_pairing_the_wandering_mood_would_hide_it() -> None:
    """The negative control: the same blocks, each round held against another one, find it far less often."""

    def unpaired(seed: int) -> str:
        own, full = rounds(1.1, seed)
        return versus(own, np.roll(np.array(full, object), ROUNDS // 2).tolist(), agreement=None).difference

    assert np.mean([unpaired(seed) == "slower" for seed in range(RUNS)]) < 0.7


def test_a_difference_that_nobody_would_ship_for_is_none() -> None:
    own, full = ([block([5.0 * factor] * 50, number=at) for at in range(10)] for factor in (1.01, 1.0))
    found = versus(own, full, agreement=None)
    assert found.p50.value == pytest.approx(1.01) and found.difference == "no difference"


def test_the_tail_alone_makes_a_difference() -> None:
    random = np.random.default_rng(0)
    own, full = (
        [block([*random.normal(5, 0.05, 180), *random.normal(tail, 0.3, 20)], number=at) for at in range(15)]
        for tail in (12.0, 8.0)
    )
    found = versus(own, full, agreement=None)
    assert found.difference == "slower" and found.p99.value == pytest.approx(1.5, rel=0.1)


def test_a_slower_tail_outweighs_a_faster_median() -> None:
    random = np.random.default_rng(0)
    own, full = (
        [block([*random.normal(body, 0.05, 180), *random.normal(tail, 0.3, 20)], number=at) for at in range(15)]
        for body, tail in ((4.0, 12.0), (5.0, 8.0))
    )
    found = versus(own, full, agreement=None)
    assert found.p50.interval is not None and found.p50.interval[1] < 1  # control: the median alone says faster
    assert found.difference == "slower"


def test_few_answers_tell_of_no_p99_and_a_difference_needs_none() -> None:
    own, full = ([block([5.0 * factor] * 20, number=at) for at in range(20)] for factor in (2, 1))
    found = versus(own, full, agreement=None)
    assert found.p99 is None and found.difference == "slower"
    more, fuller = ([block([5.0 * factor] * 40, number=at) for at in range(21)] for factor in (2, 1))
    assert versus(more, fuller, agreement=None).p99 == Figure(pytest.approx(2), pytest.approx((2, 2)))


@pytest.mark.parametrize(
    ("rate", "held"),
    [
        (None, "unknown"),
        (Figure(2.0), "unknown"),
        (Figure(2.0, (1.9, 2.1)), "more"),
        (Figure(0.5, (0.4, 0.6)), "less"),
        (Figure(1.1, (0.9, 1.3)), "no difference"),
        (Figure(1.01, (1.005, 1.015)), "no difference"),
    ],
)
def test_what_a_ratio_of_knees_shows(rate: Figure | None, held: str) -> None:
    assert versus([block([1.0])], [block([1.0])], agreement=None, rate=rate).held == held


def test_one_round_gives_no_interval_and_no_difference() -> None:
    found = versus([block([9.0])], [block([1.0])], agreement=None)
    assert found.p50.value == pytest.approx(9) and found.p50.interval is None
    assert found.difference == "no difference"
