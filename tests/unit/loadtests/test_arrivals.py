"""Arrival times: rates, dispersion, shapes, and a trace scaled to a rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import arrivals
from loadtests.arrivals import Stretch

RATES = st.floats(0.5, 500)
SECONDS = st.floats(0.1, 20)


@given(RATES, SECONDS, st.sampled_from(sorted(arrivals.PROCESSES)), st.integers(0, 9))
def test_times_ascend_within_the_profile(rate: float, lasts_s: float, process: str, seed: int) -> None:
    profile = arrivals.burst(rate, lasts_s)
    times = arrivals.PROCESSES[process](profile, np.random.default_rng(seed))
    assert (np.diff(times) >= 0).all()
    assert len(times) == 0 or (times[0] >= 0 and times[-1] <= arrivals.duration_s(profile))
    assert arrivals.duration_s(profile) == pytest.approx(lasts_s)


def test_poisson_has_the_rate_and_the_dispersion_of_poisson() -> None:
    times = arrivals.poisson(arrivals.steady(200, 500), np.random.default_rng(0))
    assert len(times) == pytest.approx(100_000, rel=0.02)
    counts = np.bincount(times.astype(int), minlength=500)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.25)
    gaps = np.diff(times)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.02)  # exponential gaps


def test_constant_has_equal_gaps_and_no_dispersion() -> None:
    times = arrivals.constant(arrivals.steady(200, 5), np.random.default_rng(0))
    assert len(times) == 1000
    assert np.diff(times) == pytest.approx(1 / 200)


def test_the_phase_of_constant_arrivals_is_drawn() -> None:
    first = {arrivals.constant(arrivals.steady(1, 5), np.random.default_rng(seed))[0] for seed in range(5)}
    assert len(first) == 5


def test_equal_seeds_give_equal_times() -> None:
    one, two = (arrivals.poisson(arrivals.steady(50, 5), np.random.default_rng(3)) for _ in range(2))
    assert (one == two).all()


def test_a_burst_is_factor_times_the_rate_in_the_middle() -> None:
    times = arrivals.constant(arrivals.burst(100, 10, factor=10, share=0.1), np.random.default_rng(0))
    assert ((times >= 4.5) & (times < 5.5)).sum() == 1000
    assert (times < 4.5).sum() == (times >= 5.5).sum() == 450


def test_steps_last_equally_long() -> None:
    profile = arrivals.steps([10, 20, 40], 6)
    assert [(s.duration_s, s.rate) for s in profile] == [(2, 10), (2, 20), (2, 40)]
    assert arrivals.mean_rate(profile) == pytest.approx(70 / 3)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(all),
    st.floats(1, 500),
    st.floats(0.5, 60),
    st.integers(0, 100),
)
def test_a_trace_is_scaled_to_the_mean_rate(counts: list[int], rate: float, lasts_s: float, start: int) -> None:
    profile = arrivals.trace(np.array(counts), rate, lasts_s, start=start)
    assert arrivals.mean_rate(profile) == pytest.approx(rate)
    assert arrivals.duration_s(profile) == pytest.approx(lasts_s)


def test_a_trace_keeps_its_shape_and_begins_anew_at_its_end() -> None:
    profile = arrivals.trace(np.array([1, 3]), 4, 4, start=1)
    assert [s.rate for s in profile] == pytest.approx([6, 2, 6, 2])


def test_a_silent_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no request in the 2 s from second 1"):
        arrivals.trace(np.array([5, 0, 0]), 10, 2, start=1)


@pytest.mark.parametrize(("lasts_s", "rate"), [(-1, 1), (1, -1), (float("nan"), 1), (1, float("inf"))])
def test_a_stretch_that_is_none_is_refused(lasts_s: float, rate: float) -> None:
    with pytest.raises(ValueError, match="is none"):
        Stretch(lasts_s, rate)


def test_nothing_is_sent_at_rate_zero() -> None:
    for process in arrivals.PROCESSES.values():
        assert len(process(arrivals.steady(0, 5), np.random.default_rng(0))) == 0
        assert len(process((), np.random.default_rng(0))) == 0
