"""Interleaved timing with runners that take the time they are told."""

from collections.abc import Callable

import numpy as np
import pytest

from models.evaluate.latency import LEAST_RUNS, WARM_RUNS, Race, Seconds, compared, race, run_times, timing
from tests.fakes import ManualClock, PacedRunner

FEED = {"x": np.zeros((8, 4), dtype=np.float32)}
RUNS = 40

Pace = Callable[[int], float]


def raced(variant: Pace, full: Pace, log: list[str] | None = None) -> Race:
    clock, log = ManualClock(), [] if log is None else log
    runners = (PacedRunner("v", clock, log, variant), PacedRunner("f", clock, log, full))
    return race(*runners, FEED, runs=RUNS, now_s=clock.now_s)


def timed(pace: Pace) -> Seconds:
    clock = ManualClock()
    return run_times(PacedRunner("v", clock, [], pace), FEED, runs=RUNS, now_s=clock.now_s)


def growing() -> Pace:
    """A machine that gets slower with every run of anybody."""
    count = [0]

    def pace(_: int) -> float:
        count[0] += 1
        return 0.001 * count[0]

    return pace


def test_percentiles_and_throughput() -> None:
    found = timing(np.arange(1, 101) / 1000, rows=8)
    assert (found.p50_ms, found.p95_ms, found.p99_ms) == pytest.approx((50.5, 95.05, 99.01))
    assert found.rows_per_s == pytest.approx(8 / 0.0505, rel=1e-3)


def test_a_faster_variant_is_measured_as_such() -> None:
    found = raced(lambda turn: 0.010 + 0.0001 * (turn % 7), lambda turn: 0.020 + 0.0001 * (turn % 5))
    assert found.speedup == pytest.approx(2.0, rel=0.05)
    assert 1 < found.speedup_interval_95[0] <= found.speedup <= found.speedup_interval_95[1]
    assert found.variant.p50_ms == pytest.approx(10.3, abs=0.2)
    assert found.full.p50_ms == pytest.approx(20.2, abs=0.2)
    assert found.variant.rows_per_s == pytest.approx(8 / 0.0103, rel=0.02)


def test_a_slower_variant_too() -> None:
    found = raced(lambda _: 0.03, lambda _: 0.02)
    assert found.speedup_interval_95[1] < 1


def test_equal_versions_give_an_interval_around_one() -> None:
    noise = np.random.default_rng(0).uniform(0.9, 1.1, 1000)
    low, high = raced(lambda turn: 0.01 * noise[turn], lambda turn: 0.01 * noise[turn + 500]).speedup_interval_95
    assert low < 1 < high


def test_runs_alternate_and_each_goes_first_in_turn() -> None:
    log: list[str] = []
    raced(lambda _: 0.01, lambda _: 0.01, log)
    pairs = ["".join(log[at : at + 2]) for at in range(0, len(log), 2)]
    assert pairs == ["vf", "fv"] * ((WARM_RUNS + RUNS) // 2)


def test_a_machine_that_slows_down_favours_neither() -> None:
    pace = growing()
    assert raced(pace, pace).speedup == pytest.approx(1.0, abs=0.02)


def test_negative_control_one_after_the_other_it_would_have_favoured_the_first() -> None:
    pace = growing()
    assert np.median(timed(pace)) * 2 < np.median(timed(pace))


def test_warm_up_runs_are_not_counted() -> None:
    seconds = timed(lambda turn: 9.0 if turn < WARM_RUNS else 0.01)
    assert seconds.shape == (RUNS,)
    assert seconds.max() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("budget_s", "runs"),
    [
        (1e9, RUNS),
        (2.0, RUNS),
        (0.6, 27),  # 0.6 s are 30 pairs of 20 ms; a tenth is for the warm-up
        (0.1, LEAST_RUNS),
        (0.0, LEAST_RUNS),
    ],
)
def test_a_budget_allows_so_many_runs_and_never_fewer_than_the_least(budget_s: float, runs: int) -> None:
    clock, log = ManualClock(), list[str]()
    runners = (PacedRunner(name, clock, log, lambda _: 0.01) for name in "vf")
    found = race(*runners, FEED, runs=RUNS, budget_s=budget_s, now_s=clock.now_s)
    assert found.runs == runs
    assert runs * 2 < len(log) <= 2 * (runs + WARM_RUNS)


def test_a_slow_model_alone_keeps_to_its_budget_too() -> None:
    clock = ManualClock()
    seconds = run_times(PacedRunner("v", clock, [], lambda _: 0.3), FEED, runs=300, budget_s=10, now_s=clock.now_s)
    assert len(seconds) == 30
    assert clock.now_s() - 1000 == pytest.approx(10, abs=1)


def test_the_joint_interval_is_the_wider_the_more_races_are_judged() -> None:
    rng = np.random.default_rng(0)
    times = rng.uniform(0.9, 1.1, 200), rng.uniform(0.9, 1.1, 200)
    widths = []
    for looks in (1, 3, 20):
        found = compared(*times, 1, looks=looks)
        low, high = found.speedup_joint_interval_95
        widths.append(high - low)
        assert low <= found.speedup_interval_95[0] <= found.speedup_interval_95[1] <= high
    assert widths[0] < widths[1] < widths[2]
    assert compared(*times, 1).speedup_joint_interval_95 == compared(*times, 1).speedup_interval_95
