"""Whether a rate meets the objective: by all planned requests, with errors and lag, in a block; and ratios of knees."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtests.generator.block import CONNECTION_LOST, WRONG, Block
from loadtests.knees import _late, notes, rate_ratio
from loadtests.outcome import Knee, Try
from loadtests.server import ServerGone
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


def test_a_late_generator_only_makes_it_harder() -> None:
    """Latency counts from the planned moment, so the lag is in it."""
    seen = judge(block([9.9] * 100, lag_ms=5.5), 100, 10)
    assert seen.met and seen.lag_p99_ms == pytest.approx(5.5)
    assert not judge(block([10.1] * 100, lag_ms=5.5), 100, 10).met


class Machine:
    """A generator that gives the latencies it is told, one after the other."""

    def __init__(self, *latencies_ms: float) -> None:
        self.left = list(latencies_ms)
        self.planned_s: list[np.ndarray] = []

    def send(self, asked: Block) -> Any:
        self.planned_s.append(asked.planned_s)
        return block([self.left.pop(0)] * len(asked.planned_s)).sent


def trials(*latencies_ms: float) -> tuple[Trials, Machine, Any]:
    machine = Machine(*latencies_ms)
    contender = SimpleNamespace(label="1", pool=SimpleNamespace(requests=(b"",)))
    return Trials(machine, 10, 0, sleep=lambda _: None), machine, contender  # type: ignore[arg-type]


def test_a_try_is_one_block_and_each_is_kept() -> None:
    trying, machine, contender = trials(5, 50, 5)
    assert [trying.meets(contender, 200) for _ in range(3)] == [True, False, True]
    assert not machine.left
    assert [one.p99_ms for one in trying.seen["1"]] == pytest.approx([5, 50, 5])


@pytest.mark.parametrize(
    ("rate", "limit_ms", "lasts_s"), [(200, 10, 2), (100, 10, 4), (10, 10, 8), (4000, 10, 2), (1000, 200, 4)]
)
def test_a_block_holds_enough_requests_and_outlasts_the_limit(rate: float, limit_ms: float, lasts_s: float) -> None:
    """A queue that grows by a tenth of the time reaches the limit only after ten times the limit."""
    trying, machine, contender = trials(1)
    trying.limit_ms = limit_ms
    trying.meets(contender, rate)
    assert machine.planned_s[0][-1] == pytest.approx(lasts_s, rel=0.1)


def test_a_server_that_ended_ends_the_search() -> None:
    trying, machine, contender = trials(5)
    machine.send = lambda asked: block([5.0] * 9, status=[CONNECTION_LOST] * 9).sent  # type: ignore[method-assign]
    contender.server = SimpleNamespace(url="http://x", comes_back=lambda: True)
    assert not trying.meets(contender, 200)  # control: it was started again
    contender.server.comes_back = lambda: False
    with pytest.raises(ServerGone, match=r"http://x does not answer any more since 1 was tried at 200/s"):
        trying.meets(contender, 200)


def knee(rate: float | None, interval: tuple[float, float] | None, bound: bool = False) -> Knee:
    return Knee("x", 10, rate, interval, True, (), bound)


def test_the_interval_of_a_ratio_of_knees_is_made_of_both() -> None:
    found = rate_ratio(knee(220, (209, 231)), knee(100, (95, 105)))
    assert found is not None and found.value == pytest.approx(2.2) and found.interval is not None
    low, high = found.interval
    assert 209 / 105 < low < 209 / 100 and 231 / 100 < high < 231 / 95
    sure = rate_ratio(knee(220, (220, 220)), knee(100, (95, 105)))
    assert sure is not None and sure.interval == pytest.approx((220 / 105, 220 / 95))


def test_the_interval_of_a_ratio_of_knees_covers_it() -> None:
    """Two knees, each told with an error of 3 % and an interval to match."""
    random = np.random.default_rng(0)
    covered = []
    for own, full in np.exp(random.normal(0, 0.03, (2000, 2))):
        width = np.exp(1.96 * 0.03)
        found = rate_ratio(knee(2 * own, (2 * own / width, 2 * own * width)), knee(full, (full / width, full * width)))
        assert found is not None and found.interval is not None
        covered.append(found.interval[0] <= 2 <= found.interval[1])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("other", [None, knee(None, None), knee(100, None, bound=True)])
def test_without_both_knees_there_is_no_ratio(other: Knee | None) -> None:
    assert rate_ratio(knee(220, (209, 231)), other) is None
    assert rate_ratio(other, knee(220, (209, 231))) is None


@pytest.mark.parametrize(
    ("p99_ms", "lag_ms", "bound"),
    [
        (30, 25, True),  # without the lag it would have been within 10 ms
        (30, 4, False),
        (500, 30, False),  # late, but the server was far later
    ],
)
def test_a_miss_is_the_generators_where_its_lag_explains_it(p99_ms: float, lag_ms: float, bound: bool) -> None:
    tried = [Try(100, True, 1, 2, 0, 0.1), *[Try(300, False, 5, p99_ms, 0, lag_ms)] * 3]
    assert _late(tried, 10) is bound


def test_a_reader_is_told_of_knees_that_are_none() -> None:
    assert notes({"1": knee(100, (95, 105)), "2": knee(None, None)}) == []
    (bound,) = notes({"1": knee(20_000, None, bound=True)})
    assert "at least 20000/s" in bound
    (open_,) = notes({"1": replace(knee(100, (40, 180)), settled=False)})
    assert "between 40 and 180/s" in open_
