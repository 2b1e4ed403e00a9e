"""The cost curve: which size gives the most rows per second, and what a run will take."""

from __future__ import annotations

import math

import pytest

from service.batching.curve import CostCurve


def curve_of(max_rows: int, **rates: float) -> CostCurve:
    """A curve of sizes r<rows>=<rows per second>."""
    curve = CostCurve(max_rows)
    for name, rate in rates.items():
        rows = int(name[1:])
        curve.observe(rows, rows / rate)
    return curve


def test_nothing_measured_takes_all_and_promises_nothing() -> None:
    curve = CostCurve(32)
    assert curve.best_rows(7) == 7
    assert curve.best_rows(100) == 32
    assert curve.predict_s(5) == 0.0
    assert curve.rows_per_s == math.inf
    assert curve.full_rows == 32


@pytest.mark.parametrize(
    ("rates", "available", "best"),
    [
        ({"r1": 83, "r8": 104, "r32": 94}, 32, 8),  # sentence embeddings: larger is slower
        ({"r1": 83, "r8": 104, "r32": 94}, 4, 4),
        ({"r1": 182e3, "r8": 1.24e6, "r32": 3.4e6}, 32, 32),  # a tiny network: larger is faster
        ({"r1": 182e3, "r8": 1.24e6, "r32": 3.4e6}, 20, 20),
        ({"r1": 55, "r8": 58, "r32": 58}, 32, 8),  # a tie goes to the smaller
        ({"r1": 100, "r2": 101, "r4": 101.5}, 4, 1),  # within the noise, too
        ({"r1": 100, "r2": 103}, 2, 2),
        ({"r1": 100}, 1, 1),
        ({"r1": 100}, 0, 0),
        ({"r8": 100}, 5, 5),  # only larger ones measured
        ({"r1": 100, "r4": 150}, 9, 9),  # beyond what was measured: try it
    ],
)
def test_best_rows(rates: dict[str, float], available: int, best: int) -> None:
    assert curve_of(32, **rates).best_rows(available) == best


def test_a_size_once_measured_badly_is_tried_again() -> None:
    curve = curve_of(8, r1=100, r4=200, r8=20)
    choices = [curve.best_rows(8) for _ in range(200)]
    assert set(choices) == {4, 8}
    assert choices.count(8) == 3


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [(2, 0.2), (4, 0.4), (3, 0.3), (1, 0.2), (8, 0.8), (0, 0.2)],
    ids=["measured", "measured", "between", "below the smallest", "above the largest", "none"],
)
def test_predict(rows: int, seconds: float) -> None:
    curve = CostCurve(8)
    curve.observe(4, 0.4)
    curve.observe(2, 0.2)
    assert curve.predict_s(rows) == pytest.approx(seconds)


def test_the_best_rate_and_its_size() -> None:
    curve = curve_of(32, r1=83, r8=104, r32=94)
    assert (curve.full_rows, curve.rows_per_s) == (8, pytest.approx(104))
    for _ in range(100):
        curve.observe(32, 32 / 300)
    assert (curve.full_rows, curve.rows_per_s) == (32, pytest.approx(300, rel=1e-3))


def test_samples_move_the_average_and_one_outlier_hardly() -> None:
    curve = CostCurve(4)
    curve.observe(4, 1.0)
    curve.observe(4, 2.0)
    assert curve.predict_s(4) == pytest.approx(1.2)
    curve.observe(4, 1000.0)
    assert curve.predict_s(4) < 2.0


def test_a_lasting_change_is_learnt() -> None:
    curve = CostCurve(4)
    curve.observe(4, 0.001)
    for _ in range(60):
        curve.observe(4, 0.1)
    assert curve.predict_s(4) == pytest.approx(0.1, rel=0.01)


def test_runs_that_took_no_time_at_all_divide_nothing_by_zero() -> None:
    curve = CostCurve(4)
    curve.observe(1, 0.0)
    curve.observe(4, 0.0)
    assert curve.best_rows(4) == 4
    assert curve.rows_per_s == math.inf


def test_a_run_of_no_rows_is_no_candidate() -> None:
    curve = CostCurve(4)
    curve.observe(0, 0.001)
    curve.observe(4, 0.004)
    assert curve.best_rows(4) == 4
    assert curve.best_rows(3) == 3
