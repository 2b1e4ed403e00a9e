"""When the memory of long runs is given back, as tables of runs."""

from __future__ import annotations

import pytest

from service.runtime.long_runs import LONG_S, REST_S, LongRuns

RUNS = [
    pytest.param([(0.0, 10.0)], REST_S, True, id="a long run, long over"),
    pytest.param([(0.0, 10.0)], REST_S - 1, False, id="a long run, not long over"),
    pytest.param([(0.0, 0.9 * LONG_S)], REST_S, False, id="no long run"),
    pytest.param([], REST_S, False, id="no run"),
    pytest.param([(0.0, 10.0), (1.0, 2.4), (30.0, 2.4)], REST_S, True, id="runs that need far less go on"),
    pytest.param([(0.0, 10.0), (30.0, 2.6)], REST_S, False, id="a run that may need as much"),
    pytest.param([(0.0, 10.0), (30.0, 2.6)], 30 + REST_S, True, id="that is over too"),
    pytest.param([(0.0, 0.1), (1.0, 10.0), (30.0, 0.1)], 1 + REST_S, True, id="the longest counts"),
]


@pytest.mark.parametrize(("runs", "now_s", "over"), RUNS)
def test_when_long_runs_are_over(runs: list[tuple[float, float]], now_s: float, over: bool) -> None:
    long_runs = LongRuns()
    for ended_s, run_s in runs:
        long_runs.note(run_s, ended_s)
    assert long_runs.are_over(now_s) is over
    assert not long_runs.are_over(now_s), "it is said once"


def test_others_come_after_them() -> None:
    long_runs = LongRuns()
    long_runs.note(10.0, 0.0)
    assert long_runs.are_over(REST_S)
    long_runs.note(2 * LONG_S, 100.0)
    assert not long_runs.are_over(100.0 + REST_S / 2)
    assert long_runs.are_over(100.0 + REST_S)
