"""Whether a rate meets the objective: by all planned requests, with errors and lag, by the majority of three."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtests.generator.block import CONNECTION_LOST, WRONG, Block
from loadtests.knees import rate_ratio
from loadtests.outcome import Knee
from loadtests.trial import Trials, judge
from tests.unit.loadtests.blocks import block


def test_quick_answers_meet_it() -> None:
    seen = judge(block([5.0] * 1000), 100, 10)
    assert seen.met and seen.p99_ms == pytest.approx(5) and seen.p50_ms == pytest.approx(5)


def test_two_in_a_hundred_slow_ones_miss_it() -> None:
    assert not judge(block([5.0] * 98 + [11.0] * 2), 100, 10).met
    assert judge(block([5.0] * 9999 + [11.0]), 100, 10).met


def test_unanswered_requests_count_as_endless() -> None:
    seen = judge(block([5.0] * 100, status=[200] * 97 + [0] * 3), 100, 10)
    assert not seen.met and seen.p99_ms == float("inf") and seen.errors == pytest.approx(0.03)


@pytest.mark.parametrize("status", [503, CONNECTION_LOST])
def test_more_than_one_error_in_a_thousand_misses_it(status: int) -> None:
    assert not judge(block([5.0] * 1000, status=[200] * 998 + [status] * 2), 100, 10).met
    assert judge(block([5.0] * 1000, status=[200] * 999 + [status]), 100, 10).met


def test_wrong_answers_are_errors() -> None:
    seen = judge(block([5.0] * 10, checked=WRONG), 100, 10)
    assert not seen.met and seen.errors == 1 and np.isnan(seen.p50_ms)


def test_a_late_generator_proves_nothing() -> None:
    assert not judge(block([5.9] * 100, lag_ms=5.5), 100, 10).met


class Machine:
    """A generator that gives the latencies it is told, one after the other."""

    def __init__(self, *latencies_ms: float) -> None:
        self.left = list(latencies_ms)

    def send(self, asked: Block) -> Any:
        return block([self.left.pop(0)] * len(asked.planned_s)).sent


def trials(*latencies_ms: float) -> tuple[Trials, Machine, Any]:
    machine = Machine(*latencies_ms)
    contender = SimpleNamespace(label="1", pool=SimpleNamespace(requests=(b"",)))
    return Trials(machine, 10, 0, sleep=lambda _: None), machine, contender  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("latencies", "met", "blocks"),
    [((5, 5), True, 2), ((5, 50, 50), False, 3), ((5, 50, 5), True, 3), ((50,), False, 1)],
)
def test_one_slow_spell_decides_nothing(latencies: tuple[float, ...], met: bool, blocks: int) -> None:
    trying, machine, contender = trials(*latencies, 1, 1)
    assert trying.meets(contender, 200) is met
    assert len(latencies) + 2 - len(machine.left) == blocks
    assert trying.seen["1"][0].met is met and trying.seen["1"][0].p99_ms == pytest.approx(5 if met else 50)


def knee(rate: float | None, missed: float | None, bound: bool = False) -> Knee:
    return Knee("x", 10, rate, missed, (), bound)


def test_the_ratio_of_two_knees_has_the_width_that_the_searches_left() -> None:
    found = rate_ratio(knee(220, 231), knee(100, 105))
    assert found is not None and found.value == pytest.approx(2.2)
    assert found.interval == pytest.approx((220 / 105, 2.31))


@pytest.mark.parametrize("other", [None, knee(None, 1), knee(100, None, bound=True)])
def test_without_both_knees_there_is_no_ratio(other: Knee | None) -> None:
    assert rate_ratio(knee(220, 231), other) is None
    assert rate_ratio(other, knee(220, 231)) is None
