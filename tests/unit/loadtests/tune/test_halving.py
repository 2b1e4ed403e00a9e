"""The search on made-up measurements with noise: it finds the best, keeps what is as good, and counts its costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from loadtests.measures.resampling import Figure
from loadtests.tune.halving import Race, is_better

PRESENT = "present"
NAMES = [f"c{number}" for number in range(8)]


def race(true: dict[str, float], seed: int, *, noise: float = 0.15, count: Counter[str] | None = None) -> Race[str]:
    """Scores with noise of their own, on a machine whose mood changes from round to round by a factor of up to 2."""
    random = np.random.default_rng(seed)
    moods = random.uniform(1, 2, 1000)

    def measure(one: str, number: int) -> float:
        if count is not None:
            count[one] += 1
        return true[one] * moods[number] * float(np.exp(random.normal(0, noise)))

    return Race(PRESENT, measure, random)


def found(true: dict[str, float], seed: int, measured: Callable[[], Race[str]] | None = None) -> tuple[str, bool]:
    running = measured() if measured else race(true, seed)
    best = running.stage(NAMES)
    ratio, _ = running.final(best, rounds=8) if best != PRESENT else (None, 0)
    return best, is_better(ratio)


def test_the_best_of_a_grid_is_found_through_noise() -> None:
    true = {PRESENT: 1.0, **{name: 0.6 + 0.05 * at for at, name in enumerate(NAMES)}, "c5": 1.6}
    results = [found(true, seed) for seed in range(20)]
    assert sum(result == ("c5", True) for result in results) >= 18


def test_equal_candidates_leave_the_present_one_in_place() -> None:
    """A/A: whatever leads by luck is not shown to be better in fresh rounds."""
    results = [found(dict.fromkeys([PRESENT, *NAMES], 1.0), seed) for seed in range(80)]
    assert sum(better for _, better in results) <= 6


def test_the_rounds_that_chose_it_would_have_flattered_it() -> None:
    """Negative control of the fresh rounds: the winner's own scores say that it is better, and it is not."""
    flattered = []
    for seed in range(100):
        running = race(dict.fromkeys([PRESENT, *NAMES], 1.0), seed)
        best = running.stage(NAMES)
        flattered.append(np.mean(running.ratios[best]) if best != PRESENT else 1.0)
    assert np.mean(flattered) > 1.02


def test_a_worse_grid_gives_the_present_one() -> None:
    assert found({PRESENT: 1.0, **dict.fromkeys(NAMES, 0.5)}, 0) == (PRESENT, False)


def test_halving_measures_the_better_ones_more_often() -> None:
    count: Counter[str] = Counter()
    true = {PRESENT: 1.0, **{name: 0.5 + 0.2 * at for at, name in enumerate(NAMES)}}
    race(true, 1, noise=0.01, count=count).stage(NAMES)
    assert count["c0"] == 2 and count["c7"] == 2 + 4 + 8 + 16
    assert sum(count[name] for name in NAMES) == 8 * 2 + 4 * 4 + 2 * 8 + 16
    assert count[PRESENT] == 30  # in every round


def test_time_that_runs_out_ends_it_with_the_best_so_far() -> None:
    left = iter([True, True, False])
    running = race({PRESENT: 1.0, **dict.fromkeys(NAMES, 0.5), "c3": 2.0}, 0)
    running.may_go_on = lambda _blocks: next(left, False)
    assert running.stage(NAMES) == "c3"
    assert running.rounds == 2
    assert running.final("c3", rounds=8) == (None, 0)


def test_others_are_measured_beside_any_one_in_fresh_rounds() -> None:
    running = race({PRESENT: 1.0, "c1": 2.0, "c2": 4.0}, 0, noise=0.001)
    running.rounds = 5
    seen = running.beside("c2", ["c1"], rounds=3)
    assert list(seen) == ["c1"] and seen["c1"] == pytest.approx([0.5] * 3, rel=0.01)
    assert running.rounds == 8
    assert running.ratios == {}  # they say nothing of the present one
    running.may_go_on = lambda _blocks: False
    assert running.beside("c2", ["c1"], rounds=3) == {"c1": []}


def test_without_any_time_the_present_one_stays() -> None:
    running = race(dict.fromkeys([PRESENT, *NAMES], 1.0), 0)
    running.may_go_on = lambda _blocks: False
    assert running.stage(NAMES) == PRESENT
    assert running.stage([]) == PRESENT


def test_an_interruption_keeps_what_was_measured() -> None:
    running = race(dict.fromkeys([PRESENT, *NAMES], 1.0), 0)
    inner, calls = running.measure, iter(range(100))

    def measure(one: str, number: int) -> float:
        if next(calls) == 12:
            raise KeyboardInterrupt
        return inner(one, number)

    running.measure = measure
    with pytest.raises(KeyboardInterrupt):
        running.stage(NAMES)
    assert {len(ratios) for ratios in running.ratios.values()} == {1}  # the whole first round, none of the second


def test_nothing_scored_is_no_error() -> None:
    running = race({PRESENT: 0.0, **dict.fromkeys(NAMES, 0.0)}, 0)
    assert running.stage(NAMES) == PRESENT


@pytest.mark.parametrize(
    ("ratio", "better"),
    [
        (None, False),
        (Figure(2.0), False),
        (Figure(1.2, (0.99, 1.4)), False),
        (Figure(1.2, (1.01, 1.4)), True),
        (Figure(0.5, (0.4, 0.6)), False),
    ],
)
def test_only_an_interval_above_one_shows_it(ratio: Figure | None, better: bool) -> None:
    assert is_better(ratio) is better
