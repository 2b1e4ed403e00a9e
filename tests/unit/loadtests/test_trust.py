"""What the verdict is worth: equal versions are told equal, and a tenth more latency is found.

Rounds are made up, with noise of the kinds that real runs show, in sizes that are assumed: the machine's mood wanders
from round to round, falls a little differently on the two blocks of one round, and some blocks hold a slow spell. Real
runs of a server with a known latency are in tests/loadtests/test_planted.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.measures.observed import Observed
from loadtests.verdict import versus
from tests.unit.loadtests.blocks import block

RUNS, ROUNDS, REQUESTS = 60, 30, 200
# Standard deviations of the logarithm: of one request, from round to round, between the two blocks of a round.
REQUEST, WANDER, BLOCK = 0.35, 0.10, 0.07
SLOW_SPELLS = 0.1


def rounds(times: float, seed: int, count: int = ROUNDS) -> tuple[list[Observed], list[Observed]]:
    """(own, full): blocks of a version that takes `times` as long as the other."""
    random = np.random.default_rng([seed, int(times * 100)])
    mood = np.cumsum(random.normal(0, WANDER, count))
    own, full = (
        [block(_latencies(random, mood[at]) * factor, version=name, number=at) for at in range(count)]
        for name, factor in (("own", times), ("full", 1.0))
    )
    return own, full


def _latencies(random: np.random.Generator, mood: float) -> np.ndarray:
    values = 5 * np.exp(random.normal(0, REQUEST, REQUESTS) + mood + random.normal(0, BLOCK))
    if random.random() < SLOW_SPELLS:
        at = random.integers(0, REQUESTS * 9 // 10)
        values[at : at + REQUESTS // 10] *= random.uniform(2, 10)
    return values


def share(times: float, wanted: str) -> float:
    found = [versus(*rounds(times, seed), agreement=None).difference for seed in range(RUNS)]
    return float(np.mean([one == wanted for one in found]))


def test_a_version_against_itself_is_told_equal() -> None:
    assert share(1.0, "no difference") >= 0.9


@pytest.mark.parametrize(("times", "wanted"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_tenth_more_or_less_latency_is_found(times: float, wanted: str) -> None:
    assert share(times, wanted) >= 0.9


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


def test_rounds_without_an_answer_are_left_out() -> None:
    own = [block([5.0, 5.0], number=0), block([5.0], number=1, status=[503]), block([5.0], number=2)]
    full = [block([5.0], number=at) for at in range(3)]
    found = versus(own, full, agreement=None)
    assert found.p50.value == pytest.approx(1) and found.p50.interval is not None


def test_one_round_gives_no_interval_and_no_difference() -> None:
    found = versus([block([9.0])], [block([1.0])], agreement=None)
    assert found.p50.value == pytest.approx(9) and found.p50.interval is None
    assert found.difference == "no difference"
