"""The search for the knee: it finds it, stops by itself, and bears a machine that wavers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.knee import MOST_STEPS, NARROW, Search, search_all


@given(st.floats(2, 100_000))
def test_a_sharp_knee_is_found_within_six_percent(true: float) -> None:
    found = search_all({"m": Search(100)}, lambda _, rate: rate <= true)["m"]
    assert found.done and found.knee is not None
    assert true / NARROW <= found.knee <= true
    assert len(found.tried) <= MOST_STEPS


@pytest.mark.parametrize("true", [30.0, 400.0, 5000.0])
def test_a_noisy_knee_is_found_nearly(true: float) -> None:
    """Rates near the knee are met by chance, as on a real machine; the odds go from 1 to 0 within some percent."""
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)

        def meets(_: str, rate: float, random: np.random.Generator = random) -> bool:
            return bool(random.random() < 1 / (1 + math.exp((rate / true - 1) / 0.02)))

        search = search_all({"m": Search(100)}, meets, seed=seed)["m"]
        assert search.done
        found.append(search.knee or 0)
    assert np.median(found) == pytest.approx(true, rel=0.06)
    assert np.mean(np.abs(np.array(found) / true - 1) < 0.12) >= 0.9


def test_nothing_met_ends_without_a_knee() -> None:
    found = search_all({"m": Search(100)}, lambda *_: False)["m"]
    assert found.done and found.knee is None


def test_everything_met_ends_at_the_ceiling() -> None:
    found = search_all({"m": Search(100, ceiling=1000)}, lambda *_: True)["m"]
    assert found.done and found.knee == 1000
    assert max(rate for rate, _ in found.tried) == 1000


@given(st.lists(st.booleans(), min_size=MOST_STEPS, max_size=MOST_STEPS))
def test_it_stops_whatever_it_is_told(told: list[bool]) -> None:
    left = iter(told)
    found = search_all({"m": Search(100)}, lambda *_: next(left))["m"]
    assert found.done and len(found.tried) <= MOST_STEPS
    assert all(math.isfinite(rate) and rate > 0 for rate, _ in found.tried)


def test_searches_take_turns_in_an_order_that_is_drawn() -> None:
    asked: list[str] = []

    def meets(name: str, rate: float) -> bool:
        asked.append(name)
        return rate <= 500

    search_all({"a": Search(100), "b": Search(100)}, meets, seed=1)
    pairs = [tuple(asked[at : at + 2]) for at in range(0, len(asked), 2)]
    assert all(set(pair) == {"a", "b"} for pair in pairs)
    assert len(set(pairs)) == 2


def test_interrupted_it_gives_what_it_had() -> None:
    def meets(_: str, rate: float) -> bool:
        if rate > 200:
            raise KeyboardInterrupt
        return True

    found = search_all({"m": Search(100)}, meets)["m"]
    assert not found.done and found.knee == pytest.approx(160)


def test_a_machine_that_became_quicker_is_followed_upwards() -> None:
    search = Search(100).after(True).after(False)  # 100 met, 160 missed
    while not search.done and search.next_rate < 155:
        search = search.after(True)
    assert search.met is not None and search.met > 150
