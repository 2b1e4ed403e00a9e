"""Which changes are put back, on made-up measurements: what does no good goes, one of two that do the same stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from loadtests.measures.resampling import Figure
from loadtests.tune.halving import Race, as_figure
from loadtests.tune.pruning import Weighed, prune
from loadtests.tune.settings import PRESENT, Settings

ALL = Settings(max_batch_size=8, max_queue_delay_microseconds=0, instances=2, threads=1)
Score = Callable[[Settings], float]


def pruned(score: Score, best: Settings = ALL, *, seed: int = 0, noise: float = 0.05) -> tuple[Settings, list[Weighed]]:
    """On a machine whose mood changes from round to round, with noise of each block's own."""
    random = np.random.default_rng(seed)
    moods = random.uniform(1, 2, 1000)
    measure = lambda one, number: score(one) * moods[number] * float(np.exp(random.normal(0, noise)))  # noqa: E731
    race = Race(PRESENT, measure, random)
    noted: list[Weighed] = []

    def weigh(whole: Settings, shorter: Sequence[Settings]) -> Mapping[Settings, Figure]:
        return {one: as_figure(ratios) for one, ratios in race.beside(whole, shorter, rounds=8).items()}

    return prune(best, weigh, noted), noted


def delay_alone(one: Settings) -> float:
    return 2.0 if one.max_queue_delay_microseconds == 0 else 1.0


def either(one: Settings) -> float:
    """A batch of one waits for nothing, and a batch that waits for nothing does not either."""
    return 2.0 if one.max_queue_delay_microseconds == 0 or one.max_batch_size == 8 else 1.0


def both(one: Settings) -> float:
    return 1.0 + (one.instances == 2) * 0.5 + (one.max_batch_size == 8) * 0.5


def test_only_the_key_that_matters_stays() -> None:
    found = [pruned(delay_alone, seed=seed)[0] for seed in range(20)]
    assert all(one.max_queue_delay_microseconds == 0 for one in found)
    # Each of three idle keys is kept by luck in one run of forty, and so are those that are weighed again.
    assert found.count(Settings(max_queue_delay_microseconds=0)) >= 15


def test_of_two_keys_that_do_the_same_one_stays() -> None:
    for seed in range(10):
        found, _ = pruned(either, Settings(max_batch_size=8, max_queue_delay_microseconds=0), seed=seed)
        assert len(found.changes()) == 1 and either(found) == 2.0


def test_putting_all_back_at_once_that_cost_nothing_alone_would_lose_it() -> None:
    """Negative control of one at a time."""
    best = Settings(max_batch_size=8, max_queue_delay_microseconds=0)
    assert all(either(best.put_back(key)) == 2.0 for key in best.changes())
    assert either(PRESENT) == 1.0


def test_two_keys_that_matter_both_stay() -> None:
    for seed in range(10):
        changes = pruned(both, seed=seed)[0].changes()
        assert changes.keys() >= {"max_batch_size", "instances"}


def test_a_single_change_is_not_weighed() -> None:
    one = Settings(threads=2)
    assert pruned(lambda _: 1.0, one) == (one, [])


def test_what_could_not_be_measured_stays_changed() -> None:
    noted: list[Weighed] = []
    assert prune(ALL, lambda _whole, _shorter: {}, noted) == ALL
    assert noted == []


def test_each_key_that_was_put_back_is_noted_with_what_stood_beside_it() -> None:
    _, noted = pruned(delay_alone, Settings(max_batch_size=8, max_queue_delay_microseconds=0), noise=0.001)
    told = {one.key: (one.matters, one.beside) for one in noted}
    assert told["max_queue_delay_microseconds"] == (True, Settings(max_batch_size=8))
    assert told["max_batch_size"][1] == Settings(max_queue_delay_microseconds=0)


@pytest.mark.parametrize(
    ("ratio", "matters"),
    [
        (Figure(0.5), False),
        (Figure(0.9, (0.8, 1.01)), False),
        (Figure(0.9, (0.85, 0.95)), True),
        (Figure(1.2, (1.1, 1.3)), False),
    ],
)
def test_only_an_interval_below_one_shows_a_cost(ratio: Figure, matters: bool) -> None:
    assert Weighed("threads", PRESENT, ratio).matters is matters
