"""What a newcomer is told to expect: from the curve, from what runs, and from what others met."""

from __future__ import annotations

import math

import pytest

from service.batching.contract import BatchConfig
from service.batching.curve import CostCurve
from service.batching.forecast import Forecast
from tests.unit.batching.test_admission import Crew, curve, queue_of


def forecast(crew: Crew, measured: CostCurve | None = None, **knobs: int | bool) -> Forecast:
    return Forecast(BatchConfig(max_rows=10, **knobs), measured or curve(), crew)  # type: ignore[arg-type]


def test_a_wait_is_what_runs_now_and_the_rows_before() -> None:
    assert forecast(Crew(free_at_s=0.5)).wait_s(queue_of(10), 0, 0.0) == pytest.approx(0.6)


def test_waits_longer_than_foretold_are_foretold_longer() -> None:
    told = forecast(Crew(free_at_s=0.5))
    for _ in range(100):
        told.learn(0, told.wait_s(queue_of(10), 0, 0.0), 1.2)
    assert told.wait_s(queue_of(10), 0, 0.0) == pytest.approx(1.2, rel=0.01)


def test_a_curve_that_has_learnt_more_is_asked_again() -> None:
    measured = curve()
    told = forecast(Crew(), measured)
    before_s = told.wait_s(queue_of(10), 0, 0.0)
    for _ in range(100):
        measured.observe(10, 0.2)
    assert told.wait_s(queue_of(10), 0, 0.0) == pytest.approx(2 * before_s, rel=0.01)


def test_a_level_waits_for_no_lesser_one() -> None:
    told, waiting = forecast(Crew(), levels=2), queue_of(10, level=2)
    assert [told.wait_s(waiting, level, 0.0) for level in (1, 2)] == pytest.approx([0.0, 0.1])


def test_each_level_has_a_bias_of_its_own() -> None:
    told = forecast(Crew(free_at_s=0.5), levels=2)
    before_s = told.wait_s(queue_of(0), 1, 0.0)
    told.learn(2, 0.5, 5.0)
    assert told.wait_s(queue_of(0), 1, 0.0) == before_s < told.wait_s(queue_of(0), 2, 0.0)


@pytest.mark.parametrize(
    ("crew", "mixes", "wait_s"),
    [(Crew(), True, 0.0), (Crew(free_at_s=-2.0), True, 4.0), (Crew(free_at_s=-2.0), False, 40.0)],
    ids=["no run has begun", "the first run has taken two seconds so far, of ten rows", "or of one request"],
)
def test_before_a_run_has_ended_the_one_under_way_says_how_long_they_take(
    crew: Crew, mixes: bool, wait_s: float
) -> None:
    assert forecast(crew, CostCurve(10), mixes=mixes).wait_s(queue_of(20), 0, 0.0) == pytest.approx(wait_s)


def test_a_size_that_was_never_run_is_foretold_from_its_neighbours() -> None:
    told = forecast(Crew())
    assert told.run_s(5) == pytest.approx(0.05 + 4 / 9 * 0.05)
    assert told.run_s(30) == pytest.approx(0.3)
    assert told.best_run_s(queue_of(0), 0.0) == pytest.approx(0.1)


def test_the_best_run_of_requests_that_never_mix_is_that_of_one() -> None:
    assert forecast(Crew(), mixes=False).best_run_s(queue_of(3), 0.0) == pytest.approx(0.05)
    assert forecast(Crew(), mixes=False).best_run_s(queue_of(0), 0.0) == pytest.approx(0.05)
    assert math.isfinite(forecast(Crew(), CostCurve(10)).best_run_s(queue_of(0), 0.0))
