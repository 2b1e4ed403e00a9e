from __future__ import annotations

import numpy as np
import pytest

from loadtests.generator.block import OK, RIGHT, UNANSWERED, WRONG, Sent
from loadtests.measures.observed import Observed, ServerSide
from loadtests.tune.objective import Objective, carried_rate, objective_for, rising


def observed(planned_s: np.ndarray, latency_s: np.ndarray, status: int = OK, checked: int = RIGHT) -> Observed:
    count = len(planned_s)
    sent = Sent(
        0.0,
        planned_s,
        planned_s,
        planned_s + latency_s,
        np.full(count, status, np.int16),
        np.zeros(count, np.int32),
        np.full(count, checked, np.int8),
        np.zeros(count, np.int32),
    )
    return Observed("x", 0, sent, 2.0, ServerSide())


@pytest.mark.parametrize("capacity", [100, 300, 900])
def test_a_rising_load_tells_where_a_queue_of_known_capacity_breaks(capacity: float) -> None:
    profile = rising(50, 2000, 4.0)
    planned = Objective("throughput", profile, 20).draw(np.random.default_rng(0))
    done = np.empty(len(planned))
    free = 0.0
    for at, due in enumerate(planned):  # one server that takes 1 / capacity for each
        free = max(free, due) + 1 / capacity
        done[at] = free
    score = Objective("throughput", profile, 20).score(observed(planned, done - planned))
    assert 0.5 * capacity < score < 1.5 * capacity  # a queue is late before it is full


def test_an_early_stall_does_not_hide_what_is_carried_later() -> None:
    profile = rising(100, 1000, 4.0)
    planned = Objective("throughput", profile, 20).draw(np.random.default_rng(0))
    in_time = np.ones(len(planned), bool)
    in_time[:8] = False
    assert carried_rate(profile, planned, in_time) == profile[-1].rate
    assert carried_rate(profile, planned, np.zeros(len(planned), bool)) == 0
    assert carried_rate(profile, np.empty(0), np.empty(0, bool)) == 0


def test_goodput_counts_what_was_good_and_in_time() -> None:
    planned = np.linspace(0, 1.9, 20)
    latency = np.where(np.arange(20) < 15, 0.005, 0.05)
    objective = objective_for("goodput", carried=100, rate=10, limit_ms=10, block_s=2.0)
    assert objective.score(observed(planned, latency)) == 7.5
    assert objective.score(observed(planned, latency, checked=WRONG)) == 0


def test_latency_scores_twice_for_half_the_p99_and_nothing_where_too_much_is_missing() -> None:
    planned = np.linspace(0, 1.9, 200)
    objective = objective_for("latency", carried=100, rate=None, limit_ms=10, block_s=2.0)
    assert objective.profile[0].rate == 50
    slow, quick = (objective.score(observed(planned, np.full(200, s))) for s in (0.02, 0.01))
    assert quick == pytest.approx(2 * slow)
    assert objective.score(observed(planned, np.full(200, 0.01), status=UNANSWERED)) == 0
    assert objective.score(observed(planned, np.full(200, 0.01), checked=WRONG)) == 0


def test_a_block_that_carries_nothing_counts_as_a_low_rate_and_not_as_none() -> None:
    """One slow spell must not outweigh every other round of a geometric mean."""
    throughput = objective_for("throughput", carried=400, rate=None, limit_ms=10, block_s=1.0)
    assert throughput.least == pytest.approx(50) and throughput.least < throughput.profile[0].rate
    assert objective_for("goodput", carried=400, rate=None, limit_ms=10, block_s=1.0).least == 0
