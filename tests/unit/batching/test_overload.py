"""Overload in manual time, where bounds are exact: goodput, waits of who is let in, who is never refused (O1, O2).

The model runs for 5 ms, alone or four at a time; the knee is the highest rate of Poisson arrivals whose p99 meets the
objective.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.batching.standing import Standing
from service.core.errors import Abandoned, Rejected
from tests.fakes import Act, FakeEngine, ManualLoop, run_manually
from tests.unit.batching.bench import Bench

RUN_S = 0.005
OBJECTIVE_S = 0.05
Knobs = tuple[tuple[str, float], ...]
ALONE: Knobs = (("max_rows", 1), ("max_wait_s", OBJECTIVE_S))
FOURS: Knobs = (("max_rows", 4), ("max_wait_s", OBJECTIVE_S))
OFF: Knobs = (("max_rows", 1), ("max_wait_s", float("inf")), ("max_queue", 100_000))


@dataclass
class Seen:
    """What became of a profile of arrivals: when each came, and how long its end took."""

    lasts_s: float
    answered: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float, int]] = field(default_factory=list)
    rows_run: int = 0

    @property
    def goodput(self) -> float:
        return len(self.answered) / self.lasts_s

    def p99_s(self, from_s: float = 0.0) -> float:
        return float(np.percentile([took_s for came_s, took_s in self.answered if came_s >= from_s], 99))


def poisson(*stretches: tuple[float, float], seed: int = 0) -> list[float]:
    """Arrival times of (seconds, rate) stretches, one after the other."""
    random, times, begin_s = np.random.default_rng(seed), [], 0.0
    for seconds, rate in stretches:
        gaps = random.exponential(1 / rate, int(seconds * rate * 1.5) + 50)
        times += [begin_s + at_s for at_s in np.cumsum(gaps) if at_s < seconds]
        begin_s += seconds
    return times


def played(times: Sequence[float], knobs: Knobs, *, leaves_after_s: float | None = None, run_s: float = RUN_S) -> Seen:
    """Sends a request at each of the times; every other client leaves after so long, where that is given."""
    seen = Seen(times[-1] if times else 0.0)

    async def main(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine(itertools.repeat(Act(run_s))), **dict(knobs))
        for rows in range(1, 1 + int(dict(knobs)["max_rows"])):
            bench.curve.observe(rows, run_s)
        began_s = loop.time()

        async def client(number: int, at_s: float) -> None:
            request = bench.submit(number)
            if leaves_after_s is not None and number % 2:
                await asyncio.wait([request], timeout=leaves_after_s)
                request.cancel()
            await asyncio.wait([request])
            took_s = loop.time() - began_s - at_s
            error = None if request.cancelled() else request.exception()
            if isinstance(error, Rejected):
                seen.refused.append((at_s, took_s, error.retry_after_s))
            elif not request.cancelled() and not isinstance(error, Abandoned):
                assert error is None, error
                seen.answered.append((at_s, took_s))

        clients = []
        for number, at_s in enumerate(times):
            await asyncio.sleep(max(0.0, began_s + at_s - loop.time()))
            clients.append(asyncio.ensure_future(client(number, at_s)))
        await asyncio.gather(*clients)
        seen.rows_run = sum(len(batch) for batch in bench.batches)

    run_manually(main)
    return seen


@cache
def knee(knobs: Knobs) -> float:
    """Requests a second at which the p99 just meets the objective, by halving the gap."""
    met, missed = 0.3 / RUN_S, dict(knobs)["max_rows"] / RUN_S
    for _ in range(5):
        rate = (met + missed) / 2
        seen = played(poisson((5.0, rate)), (*knobs[:1], *OFF[1:]))
        met, missed = (rate, missed) if seen.p99_s() <= OBJECTIVE_S else (met, rate)
    return met


@pytest.mark.parametrize(("factor", "least"), [(2, 0.95), (10, 0.9)])
@pytest.mark.parametrize("knobs", [ALONE, FOURS], ids=["alone", "four a run"])
def test_goodput_and_waits_hold_beyond_the_knee(knobs: Knobs, factor: int, least: float) -> None:
    rate = knee(knobs)
    seen = played(poisson((5.0, factor * rate)), knobs)
    assert seen.goodput >= least * rate
    assert seen.p99_s() <= 2 * OBJECTIVE_S
    assert max(took_s for _, took_s, _ in seen.refused) < 0.001, "who is refused hears of it at once"
    assert {retry_after_s for _, _, retry_after_s in seen.refused} == {1}


def test_control_without_the_limit_waits_grow_without_bound() -> None:
    seen = played(poisson((5.0, 2 * knee(ALONE))), OFF)
    assert not seen.refused
    assert seen.p99_s() > 20 * OBJECTIVE_S


def test_without_an_objective_waits_are_bounded_by_what_runs_cost() -> None:
    seen = played(poisson((6.0, 2 / RUN_S)), ALONE[:1])
    assert seen.p99_s() <= 1.0 + 2 * RUN_S
    assert seen.p99_s(from_s=4.0) <= 0.25 + 2 * RUN_S, "once it stands, a quarter of it"
    assert seen.goodput >= 0.95 / RUN_S


def test_control_without_the_target_a_queue_that_stands_is_as_long_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Standing, "waited", lambda *_: None)
    seen = played(poisson((6.0, 2 / RUN_S)), ALONE[:1])
    assert float(np.median([took_s for came_s, took_s in seen.answered if came_s >= 4.0])) > 0.9


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0])
def test_below_the_knee_nobody_is_refused(factor: float) -> None:
    """At the knee, by its definition, one in a hundred would wait longer than the objective."""
    times = poisson((20.0, factor * knee(ALONE)))
    assert len(played(times, ALONE).refused) <= (0 if factor < 1 else 0.015) * len(times)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 30)), min_size=1, max_size=30))
def test_a_burst_that_drains_within_the_limit_loses_nobody(bursts: list[tuple[int, int]]) -> None:
    """Bursts of up to ten, each beginning once the one before has drained, at once or some milliseconds later."""
    times, at_s = [], 0.0
    for size, pause_ms in bursts:
        times += [at_s] * size
        at_s += (size + 0.1) * RUN_S + pause_ms / 1000
    assert not played(times, ALONE).refused


def test_long_waits_that_end_within_the_limit_are_a_burst_again_and_again() -> None:
    times = [burst * 2.0 + place * 0.0001 for burst in range(10) for place in range(190)]
    assert not played(times, ALONE[:1]).refused, "each drains in 0.95 s, and all of them may take 1 s"


def test_after_a_burst_of_ten_times_the_knee_waits_are_as_before_within_two_seconds() -> None:
    rate = knee(ALONE)
    calm = 0.7 * rate
    seen = played(poisson((5.0, calm), (10.0, 10 * rate), (7.0, calm)), ALONE)
    before = [took_s for came_s, took_s in seen.answered if came_s < 5.0]
    assert seen.p99_s(from_s=17.0) <= 1.5 * float(np.percentile(before, 99))
    assert not [came_s for came_s, _, _ in seen.refused if came_s >= 17.0]


def test_control_without_the_limit_a_burst_is_felt_for_long() -> None:
    rate = knee(ALONE)
    seen = played(poisson((1.0, 10 * rate), (5.0, 0.7 * rate)), OFF)
    assert seen.p99_s(from_s=3.0) > 10 * OBJECTIVE_S


def test_runs_that_take_longer_than_the_curve_says_are_foretold_all_the_same() -> None:
    """A run of 20 ms is twice as long as the loop that ends it says: waits are right, by what others waited."""
    seen = played(poisson((5.0, 400.0)), (("max_rows", 1), ("max_wait_s", 0.2)), run_s=0.02)
    assert seen.p99_s(from_s=1.0) <= 0.2 + 0.04


def test_who_leaves_while_it_waits_costs_no_run() -> None:
    """Half of the clients leave after 10 ms, at twice the rate that is met: their rows take no engine's time (C1)."""
    times = poisson((5.0, 2 * knee(ALONE)))
    seen = played(times, ALONE, leaves_after_s=0.01)
    wasted = seen.rows_run - len(seen.answered)
    assert len(seen.answered) > 200
    assert wasted * RUN_S < 0.05 * seen.rows_run * RUN_S
