"""Quick runs go on the loop; slow ones are found out after three, and looked at again soon."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from service.batching.contract import CloseReason
from service.batching.costs import Costs
from service.batching.curve import CostCurve
from service.batching.quick import (
    HELD_ALLOWED_S,
    HELD_SHARE,
    LONG,
    LONG_RUNS_ALLOWED,
    LOOK_AGAIN_S,
    NEAR,
    SLOW_RUNS_ALLOWED,
    Quick,
)
from service.batching.run import Run
from service.core.contract import Arrays
from service.core.deadline import Deadline
from service.core.errors import RunFailed
from tests.fakes import ManualClock
from tests.unit.batching.on_loop import Where, started

LIMIT_S = 100e-6


class Late(Where):
    """Takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def run(self, arrays: Arrays) -> dict[str, Any]:
        time.sleep(self._seconds)
        return super().run(arrays)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


def judge(clock: ManualClock, predicted_s: float = LIMIT_S, limit_s: float = LIMIT_S) -> Quick:
    curve = CostCurve(32)
    curve.observe(1, predicted_s)
    return Quick(limit_s, Costs(curve), clock)


def run(rows: int) -> Run:
    """One of so many rows."""
    made = Run([], CloseReason.FULL)
    made.rows = rows
    return made


def took(quick: Quick, rows: int, seconds: float) -> None:
    """A run of so many rows took so long, and nobody else had the core meanwhile."""
    quick.learn(run(rows), seconds, seconds)


@pytest.mark.parametrize(
    ("predicted_s", "limit_s", "rows", "allowed"),
    [
        (LIMIT_S, LIMIT_S, 1, True),
        (NEAR * LIMIT_S, LIMIT_S, 1, True),
        (1.01 * NEAR * LIMIT_S, LIMIT_S, 1, False),
        (LIMIT_S, LIMIT_S, 8, False),
        (0.0, LIMIT_S, 1, False),  # nothing was measured: nothing is known
        (1e-9, 0.0, 1, False),  # switched off
    ],
)
def test_a_size_is_tried_where_it_is_near_the_limit_on_the_whole(
    clock: ManualClock, predicted_s: float, limit_s: float, rows: int, allowed: bool
) -> None:
    assert judge(clock, predicted_s, limit_s).allows(run(rows)) is allowed


@pytest.mark.parametrize("long_s", [LONG * LIMIT_S * 1.01, 0.01, 0.2])
def test_whoever_sends_quick_runs_between_long_ones_holds_the_loop_up_for_little(
    clock: ManualClock, long_s: float
) -> None:
    quick, held_s = judge(clock), 0.0
    began_s = clock.now_s()
    for number in range(20_000):
        taken_s = LIMIT_S / 2 if number % 9 else long_s
        clock.advance(taken_s)
        if quick.allows(run(1)):
            held_s += taken_s if taken_s > LIMIT_S else 0.0
            took(quick, 1, taken_s)
    passed_s = clock.now_s() - began_s
    assert HELD_ALLOWED_S < held_s <= HELD_ALLOWED_S + HELD_SHARE * passed_s + 2 * long_s
    clock.advance(held_s / HELD_SHARE)
    assert quick.allows(run(1))


def test_what_others_take_of_the_core_is_not_held_against_the_runs(clock: ManualClock) -> None:
    quick = judge(clock)
    for _ in range(1000):
        quick.learn(run(1), 0.01, LIMIT_S)
        took(quick, 1, LIMIT_S)
        clock.advance(0.02)
        assert quick.allows(run(1))


def test_slow_runs_in_a_row_close_a_size_and_no_other(clock: ManualClock) -> None:
    quick = judge(clock)
    for _ in range(SLOW_RUNS_ALLOWED):
        assert quick.allows(run(1))
        took(quick, 1, 2 * LIMIT_S)
    assert not quick.allows(run(1))
    assert quick.allows(run(2))


def test_one_quick_run_between_forgives_the_slow_ones(clock: ManualClock) -> None:
    quick = judge(clock)
    for seconds in [2 * LIMIT_S, 2 * LIMIT_S, LIMIT_S, 2 * LIMIT_S, 2 * LIMIT_S]:
        took(quick, 1, seconds)
    assert quick.allows(run(1))


def test_a_closed_size_is_looked_at_again_soon(clock: ManualClock) -> None:
    quick = judge(clock)
    for _ in range(SLOW_RUNS_ALLOWED):
        took(quick, 1, 2 * LIMIT_S)
    clock.advance(0.99 * LOOK_AGAIN_S)
    assert not quick.allows(run(1))
    clock.advance(0.02 * LOOK_AGAIN_S)
    assert quick.allows(run(1))
    took(quick, 1, 2 * LIMIT_S)
    assert not quick.allows(run(1))
    clock.advance(LOOK_AGAIN_S)
    took(quick, 1, LIMIT_S)
    assert quick.allows(run(1))


def test_long_runs_in_a_row_close_every_size_until_one_is_looked_at_again(clock: ManualClock) -> None:
    quick = judge(clock, LIMIT_S / 10)
    for rows in range(1, LONG_RUNS_ALLOWED + 1):
        assert quick.allows(run(rows))
        took(quick, rows, 1.01 * LONG * LIMIT_S)
    assert not any(quick.allows(run(rows)) for rows in range(1, 9))
    clock.advance(1.01 * LOOK_AGAIN_S)
    assert quick.allows(run(8))
    took(quick, 8, 1.01 * LONG * LIMIT_S)
    assert not quick.allows(run(8))
    clock.advance(1.01 * LOOK_AGAIN_S)
    took(quick, 8, LIMIT_S)
    assert all(quick.allows(run(rows)) for rows in range(1, 9))


def test_a_long_run_that_was_interrupted_closes_nothing(clock: ManualClock) -> None:
    quick = judge(clock)
    for seconds in [100 * LIMIT_S, LIMIT_S] * 10:
        took(quick, 1, seconds)
        assert quick.allows(run(1))


@pytest.mark.parametrize("fails", [True, False])
async def test_runs_that_take_long_leave_the_loop_also_where_they_fail(fails: bool) -> None:
    limit_s = 0.01
    engine = Late(limit_s * LONG * 1.1)
    engine.fails = fails
    batcher = started(engine, limit_s)
    for _ in range(LONG_RUNS_ALLOWED + 1):
        assert engine.threads <= {threading.get_ident()}
        with suppress(RunFailed):
            await batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())
    assert len(engine.threads) == 2
    await batcher.close(drain=True)


async def served(engine: Where, inline_limit_s: float, requests: int = 20) -> list[Any]:
    batcher = started(engine, inline_limit_s)
    asked = (batcher.submit({"x": np.full((1, 2), float(i))}, 1, Deadline.never()) for i in range(requests))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await batcher.close(drain=True)
    return answers


@pytest.mark.parametrize(("limit_s", "on_loop"), [(0.5, True), (0.0, False)])
async def test_where_runs_are_done(limit_s: float, on_loop: bool) -> None:
    engine = Where()
    answers = await served(engine, limit_s)
    assert [answer.outputs["y"].tolist() for answer in answers] == [[[2.0 * i, 2.0 * i]] for i in range(20)]
    assert (engine.threads == {threading.get_ident()}) is on_loop


async def test_a_failing_run_on_the_loop_fails_its_own_requests_only() -> None:
    engine = Where()
    engine.fails = True
    assert all(isinstance(answer, RunFailed) for answer in await served(engine, 0.5))


async def test_a_long_queue_is_worked_off_without_recursion() -> None:
    engine = Where()
    answers = await served(engine, 0.5, requests=1000)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1000


async def turns(limit_s: float, requests: int) -> tuple[list[int], list[int]]:
    """How many had their answers after each turn of the loop, and the rows of the runs."""
    batcher = started(engine := Where(), limit_s)
    await batcher.submit(
        {"x": np.ones((1, 2))}, 1, Deadline.never()
    )  # from the first run it is known where they are done
    engine.rows.clear()
    asked = [
        asyncio.ensure_future(batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())) for _ in range(requests)
    ]
    answered = []
    while not all(task.done() for task in asked):
        await asyncio.sleep(0)
        answered.append(sum(task.done() for task in asked))
    await batcher.close(drain=True)
    return answered, engine.rows


@pytest.mark.parametrize(("requests", "answered"), [(1, [0, 0, 0, 1]), (4, [0, 0, 4]), (9, [0, 0, 4, 8, 8, 9])])
async def test_whoever_comes_together_runs_together_and_the_loop_turns_between_two_runs(
    requests: int, answered: list[int]
) -> None:
    told, rows = await turns(0.5, requests)
    assert told == answered
    assert rows == np.diff([0, *sorted({*answered} - {0})]).tolist()


async def test_control_a_hop_to_a_thread_takes_more_turns() -> None:
    told, rows = await turns(0.0, 1)
    assert (len(told) > 3, rows) == (True, [1])


@pytest.mark.parametrize(("limit_s", "timers"), [(0.5, 0), (0.0, 1)])
async def test_a_quick_run_sets_no_timer(limit_s: float, timers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    set_for: list[float] = []
    loop = asyncio.get_running_loop()
    intact = loop.call_later

    def call_later(delay: float, *call: Any) -> Any:
        set_for.append(delay)
        return intact(delay, *call)

    monkeypatch.setattr(loop, "call_later", call_later)
    batcher = started(Where(), limit_s)
    await batcher.submit({"x": np.ones((1, 2))}, 1, Deadline.never())
    assert len(set_for) == timers
    await batcher.close(drain=True)
