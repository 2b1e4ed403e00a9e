"""What is sent: the rate that follows from an order and the knees, the rounds, and each round's part of a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadtests import arrivals
from loadtests.order import Order
from loadtests.outcome import Knee
from loadtests.planning import LEAST_ROUNDS, plan_of, rate_of, seeks_knees, traffic_of
from loadtests.pools import Rows
from loadtests.scenario import BadScenario, Scenario, read_scenario

ORDER = Order("m", ("1",), ("http://x",), Scenario(summary="A."), limit_ms=10)
KNEES = {"1": Knee("1", 10, 200.0, (190, 210), True, ()), "2": Knee("2", 10, 100.0, (95, 105), True, ())}
NONE = {**KNEES, "2": Knee("2", 10, None, None, True, ())}
OVERLOAD = read_scenario("overload")


@pytest.mark.parametrize(
    ("changes", "knees", "rate"),
    [
        ({}, KNEES, 70),
        ({"rate": 50.0}, KNEES, 50),
        ({"rate": 50.0}, {}, 50),
        ({}, NONE, None),
        ({"rate": 50.0}, NONE, 50),
        ({"scenario": OVERLOAD}, KNEES, 200),
        ({"scenario": OVERLOAD, "rate": 50.0}, {}, 100),
        ({"scenario": OVERLOAD}, NONE, None),
        ({"scenario": Scenario(summary="A.", times_rate=3), "rate": 50.0}, {}, 150),
    ],
)
def test_the_rate(changes: dict[str, object], knees: dict[str, Knee], rate: float | None) -> None:
    found = rate_of(replace(ORDER, **changes), knees)
    assert found == (None if rate is None else pytest.approx(rate))


@pytest.mark.parametrize(
    ("changes", "sought"),
    [
        ({}, True),
        ({"rate": 5.0}, False),
        ({"rate": 5.0, "find_knee": True}, True),
        ({"rate": 5.0, "scenario": OVERLOAD}, True),
        ({"rate": 5.0, "scenario": OVERLOAD, "limit_ms": None}, False),
    ],
)
def test_knees_are_sought_where_they_are_wanted_or_needed(changes: dict[str, object], sought: bool) -> None:
    assert seeks_knees(replace(ORDER, **changes)) is sought


def test_the_duration_is_cut_into_rounds_of_which_there_are_some_at_least() -> None:
    assert plan_of(replace(ORDER, duration_s=30), 10).rounds == 30
    assert plan_of(replace(ORDER, duration_s=1), 10).rounds == LEAST_ROUNDS


def test_each_round_replays_the_next_part_of_a_trace(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("\n".join(str(1 + at) for at in range(100)))
    traced = replace(ORDER, scenario=read_scenario("trace"), trace=tmp_path / "t", duration_s=80)
    plan = plan_of(traced, 20)
    assert plan.rounds == 8
    shapes = [[stretch.rate for stretch in plan.of_round(at)] for at in range(5)]
    assert all(np.mean(shape) == pytest.approx(20) for shape in shapes)
    growth = [shape[-1] / shape[0] for shape in shapes]
    assert growth[0] == pytest.approx(10) and growth == sorted(growth, reverse=True)
    assert plan.of_round(8) == plan.of_round(0)


def test_a_trace_must_be_named() -> None:
    with pytest.raises(BadScenario, match="--trace FILE"):
        plan_of(replace(ORDER, scenario=read_scenario("trace")), 10)


def test_the_report_says_what_was_sent() -> None:
    rows = Rows({"in": np.zeros((3, 1))})
    told = traffic_of(ORDER, plan_of(ORDER, 40), rows)
    assert (told.rate, told.rows, told.rates) == (40, 3, ((1.0, 40),))
    assert traffic_of(ORDER, None, rows).rounds == 0
    assert arrivals.mean_rate(()) == 0
