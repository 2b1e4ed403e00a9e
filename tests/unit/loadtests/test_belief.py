"""What tries say of a knee: odds that add up, misses that weigh less the sooner they follow; nothing is certain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.belief import LEAST_RATE, MOST_RATE, Belief


def told(*tries: tuple[float, bool, float]) -> Belief:
    """(rate, met, moment), one after the other."""
    belief = Belief()
    for one in tries:
        belief = belief.after(*one)
    return belief


def below(belief: Belief, rate: float) -> float:
    """Probability that the knee lies below this rate, to a thousandth."""
    shares = np.linspace(0, 1, 1001)
    return float(shares[np.searchsorted([belief.quantile(share) for share in shares], rate)])


TRIES = st.lists(st.tuples(st.floats(LEAST_RATE, MOST_RATE), st.booleans(), st.floats(0, 60)), max_size=12)


@given(TRIES)
def test_odds_are_odds_whatever_is_told(tries: list[tuple[float, bool, float]]) -> None:
    belief, at_s = Belief(), 0.0
    for rate, met, after_s in tries:
        at_s += after_s
        belief = belief.after(rate, met, at_s)
    assert belief.calm.sum() + belief.slow.sum() == pytest.approx(1)
    assert (belief.calm >= 0).all() and (belief.slow >= 0).all()
    low, high = belief.interval()
    assert low <= belief.quantile(0.5) <= high


def test_before_any_try_every_rate_is_as_likely() -> None:
    assert Belief().quantile(0.5) == pytest.approx(np.sqrt(LEAST_RATE * MOST_RATE), rel=0.02)


def test_a_rate_that_was_met_is_hardly_doubted_and_a_missed_one_is() -> None:
    """A slow spell hides what a server holds; nothing lends it what it does not hold."""
    assert below(told((1000, True, 0)), 900) < 0.03
    assert below(told((1000, False, 0)), 1100) < 0.97
    assert below(told((1000, False, 0)), 1100) > 0.7


def test_misses_at_moments_far_apart_say_more_than_as_many_in_one_spell() -> None:
    soon = told((500, True, 0), *((1000, False, 3.0 + at) for at in range(4)))
    apart = told((500, True, 0), *((1000, False, 3.0 + 60 * at) for at in range(4)))
    assert 1 - below(apart, 1100) < (1 - below(soon, 1100)) / 2


def test_one_met_rate_undoes_many_misses_of_a_spell() -> None:
    spell = [(1000, False, 3.0 + at) for at in range(8)]
    assert below(told((500, True, 0), *spell), 1000) > 0.9
    assert below(told((500, True, 0), *spell, (1000, True, 60), (1000, True, 63)), 950) < 0.1


def test_a_steep_fall_is_told_from_a_wide_one() -> None:
    rates = np.geomspace(900, 1100, 20)
    steep = told(*((float(rate), bool(rate < 1000), 5.0 * at) for at, rate in enumerate(rates)))
    wide = told(*((float(rate), bool(at % 3), 5.0 * at) for at, rate in enumerate(rates)))
    assert np.divide(*steep.interval()[::-1]) < np.divide(*wide.interval()[::-1])
