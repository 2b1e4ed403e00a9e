"""Short runs that are never mixed go to an engine several at once; each is answered, counted and judged by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.batching.batch import PLAIN
from service.batching.contract import BatchConfig, CloseReason
from service.batching.costs import Costs, ShapeCosts
from service.batching.curve import CostCurve
from service.batching.forming import Former
from service.batching.quick import NEAR
from service.batching.run import Run
from service.batching.series import MOST_S, WAITING, Series, SeriesFormer
from service.batching.ticket import Ticket, cut
from service.core.clock import MonotonicClock
from service.core.errors import Expired, RetortError, RunFailed, Stuck
from tests.fakes import Act, FakeEngine, Fault, ManualLoop, ids
from tests.unit.batching.bench import GRACE_S, RUN_TIMEOUT_S, Bench, outcome, play

RUN_S = 0.006
APART = {"mixes": False, "inline_limit_s": RUN_S / NEAR / 2}


def bench_of(loop: ManualLoop, *engines: FakeEngine, **knobs: Any) -> tuple[Bench, list[int]]:
    """A batcher of a steady version that is never mixed, and how many runs its engines were handed at once."""
    bench = Bench(loop, *engines, **{**APART, **knobs})
    bench.curve.observe(1, RUN_S)
    handed: list[int] = []
    bench.threads.on_handed = lambda run: handed.append(len(run.runs) if isinstance(run, Series) else 1)
    return bench, handed


async def first_run(bench: Bench) -> None:
    """Waits until an engine has begun one."""
    began = asyncio.Event()
    bench.threads.on_start = lambda run: began.set()
    await began.wait()


def engine(*acts: Act) -> FakeEngine:
    return FakeEngine(acts or [Act(RUN_S)] * 100)


@pytest.mark.parametrize(
    ("requests", "engines", "knobs", "expected"),
    [
        (1, 1, {}, [1]),
        (5, 1, {}, [2, 1, 1, 1]),  # four wait behind the first, which takes one of them along
        (16, 1, {}, [4, 3, 3, 2, 1, 1, 1, 1]),
        (16, 1, {"mixes": True, "max_rows": 1}, [1] * 16),
        (16, 1, {"inline_limit_s": 0.0}, [1] * 16),  # where a run's time may depend on values nobody waits for it
        (16, 1, {"inline_limit_s": RUN_S / NEAR}, [1] * 16),  # these are done on the event loop
        (10, 2, {}, [1] * 10),  # the one would be idle while requests wait behind the other
    ],
)
def test_how_many_runs_an_engine_gets_at_once(
    requests: int, engines: int, knobs: dict[str, Any], expected: list[int]
) -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, *(engine() for _ in range(engines)), **knobs)
        asked = [bench.submit(number) for number in range(1, requests + 1)]
        assert [await outcome(task) for task in asked] == [[2.0 * number] for number in range(1, requests + 1)]
        assert sum(handed) == requests
        assert handed == expected
        assert sorted(bench.batches) == [[float(number)] for number in range(1, requests + 1)]

    play(story)


def former_of(costs: Costs, *widths: int) -> tuple[Former, SeriesFormer]:
    former = Former(BatchConfig(mixes=False), CostCurve(8))
    for width in widths:
        ticket = Ticket(asyncio.get_running_loop().create_future(), 0.0, 1e9)
        cut(ticket, ids(1, 1, width), 1, max_rows=1, alone=True)
        former.add(ticket)
    return former, SeriesFormer(BatchConfig(**APART), costs, former)  # type: ignore[arg-type]


def begun(former: Former, series: SeriesFormer) -> int:
    first = former.next_run(0.0, 1, draining=False)
    assert first is not None
    handed = series.begun_by(first, 1, 0.0)
    return len(handed.runs) if isinstance(handed, Series) else 1


@pytest.mark.parametrize(("run_s", "runs"), [(MOST_S / 4, 4), (MOST_S / 2, 2), (MOST_S * 0.51, 1), (RUN_S / 3, 1)])
async def test_a_series_is_short(run_s: float, runs: int) -> None:
    curve = CostCurve(8)
    curve.observe(1, run_s)
    assert begun(*former_of(Costs(curve), *[2] * 100)) == runs


async def test_a_run_of_a_size_that_is_not_known_or_long_goes_alone() -> None:
    costs = ShapeCosts(CostCurve(8), PLAIN)
    for width, seconds in ((2, RUN_S), (100, MOST_S)):
        ticket = Ticket(asyncio.get_running_loop().create_future(), 0.0, 1e9)
        cut(ticket, ids(1, 1, width), 1, max_rows=1, alone=True)
        ran = Run(ticket.pieces, CloseReason.FULL)
        ran.started_s, ran.ended_s = 1.0, 1.0 + seconds
        costs.observe(ran)
    waiting = [2] * 3 * WAITING
    assert begun(*former_of(costs, 2, 2, 2, *waiting)) == 4
    assert begun(*former_of(costs, 2, 2, 7, *waiting)) == 2  # nothing of 7 columns came back yet
    assert begun(*former_of(costs, 2, 2, 100, *waiting)) == 2
    assert begun(*former_of(costs, 7, 2, 2, *waiting)) == 1


async def test_each_run_has_its_own_time_and_its_own_fate() -> None:
    tickets = [Ticket(asyncio.get_running_loop().create_future(), 0.0, 1e9) for _ in range(3)]
    for number, ticket in enumerate(tickets):
        cut(ticket, ids(-1 if number == 1 else 1, 1), 1, max_rows=1, alone=True)
    series = Series([Run(ticket.pieces, CloseReason.FULL) for ticket in tickets])
    series.execute(FakeEngine([Act(0.01)] * 3), MonotonicClock())
    first, second, third = series.runs
    assert [run.error is None for run in series.runs] == [True, False, True]
    assert series.error is second.error
    assert first.ended_s <= second.started_s <= third.started_s < third.ended_s


class Stopped(FakeEngine):
    """Is asked to stop in its first run."""

    def __init__(self) -> None:
        super().__init__()
        self.series: Series | None = None

    def run(self, arrays: Any) -> Any:
        assert self.series is not None
        self.series.give_up()
        return super().run(arrays)


async def test_nothing_is_begun_behind_one_that_is_stopped() -> None:
    tickets = [Ticket(asyncio.get_running_loop().create_future(), 0.0, 1e9) for _ in range(3)]
    for ticket in tickets:
        cut(ticket, ids(1, 1), 1, max_rows=1, alone=True)
    stopped = Stopped()
    stopped.series = Series([Run(ticket.pieces, CloseReason.FULL) for ticket in tickets])
    stopped.series.execute(stopped, MonotonicClock())
    assert [(run.began, run.skip) for run in stopped.series.runs] == [(True, True), (False, False), (False, False)]


def test_one_that_fails_fails_alone_and_is_counted_so() -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, engine())
        asked = [bench.submit(number) for number in (1, 2, 3, -4, 5, 6, 7, 8, 9)]
        found = [await outcome(task) for task in asked]
        assert [isinstance(one, RunFailed) for one in found] == [number == 3 for number in range(9)]
        assert max(handed) > 1
        assert [report.rows for report in bench.observer.reports] == [1] * 8
        assert [rows for rows, *_ in bench.observer.failures] == [1]

    play(story)


def test_whoever_leaves_is_not_run_and_the_others_are() -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, engine())
        asked = [bench.submit(number) for number in range(1, 17)]
        await first_run(bench)
        asked[0].cancel()
        asked[1].cancel()
        await asyncio.wait(asked)
        assert [task.cancelled() for task in asked] == [True, True] + [False] * 14
        assert handed[0] == 4
        assert [2.0] not in bench.batches
        assert bench.engines[0].stops == 0

    play(story)


def test_one_that_hangs_holds_the_others_up_until_nobody_waits_for_it() -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, engine(Act(fault=Fault.HANGS), *[Act(RUN_S)] * 20))
        asked = [bench.submit(1, within_s=1.0), *(bench.submit(number) for number in range(2, 17))]
        found = [await outcome(task) for task in asked]
        assert handed[0] == 4
        assert isinstance(found[0], Expired)
        assert found[1:] == [[2.0 * number] for number in range(2, 17)]
        assert 1.0 <= bench.now_s() < 2.0

    play(story)


def test_an_engine_is_free_when_all_that_it_was_handed_is_done() -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, engine())
        bench.curve.observe(4, 1.5 * RUN_S)  # what four rows of one request take is not what four requests do
        asked = [bench.submit(number) for number in range(1, 17)]
        await first_run(bench)
        assert handed == [4]
        assert bench.batcher.crew.free_at_s - loop.time() == pytest.approx(4 * RUN_S)
        await asyncio.wait(asked)

    play(story)


def test_a_series_that_nobody_waits_for_any_more_is_stopped() -> None:
    async def story(loop: ManualLoop) -> None:
        bench, handed = bench_of(loop, engine(Act(fault=Fault.HANGS), *[Act(RUN_S)] * 20))
        asked = [bench.submit(number) for number in range(1, 17)]
        await first_run(bench)
        for task in asked[: handed[0]]:
            task.cancel()
        await asyncio.wait(asked)
        assert bench.engines[0].stops >= 1
        assert bench.now_s() < 1.0
        assert not any(task.cancelled() for task in asked[handed[0] :])

    play(story)


@pytest.mark.parametrize("fault", [Fault.HANGS, Fault.DEAF])
def test_those_behind_one_that_hangs_are_run_anew(fault: Fault) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, engine(Act(fault=fault), *[Act(RUN_S)] * 20), replace=engine, **APART)
        bench.curve.observe(1, RUN_S)
        asked = [bench.submit(number) for number in range(1, 17)]
        found = [await outcome(task) for task in asked]
        assert [isinstance(one, Stuck) for one in found] == [True] + [False] * 15
        assert [one for one in found if not isinstance(one, RetortError)] == [[2.0 * n] for n in range(2, 17)]
        assert RUN_TIMEOUT_S <= bench.now_s() <= RUN_TIMEOUT_S + GRACE_S + 1.0

    play(story)


def test_what_was_not_begun_goes_to_an_engine_that_is_idle_at_once() -> None:
    async def story(loop: ManualLoop) -> None:
        stays = engine(Act(RUN_S), Act(fault=Fault.DEAF))
        bench = Bench(loop, stays, engine(Act(fault=Fault.DEAF)), replace=engine, **APART)
        bench.curve.observe(1, RUN_S)
        bench.threads.replace_s = 5.0
        first, second = bench.submit(1), bench.submit(2)
        assert isinstance(
            await outcome(first), Stuck
        )  # and its engine is given up: for 5 s there is one, which is idle
        assert await outcome(second) == [4.0]
        asked = [bench.submit(number) for number in range(3, 19)]
        found = [await outcome(task) for task in asked]
        assert [isinstance(one, Stuck) for one in found] == [True] + [False] * 15
        assert bench.now_s() < 2 * (RUN_TIMEOUT_S + GRACE_S) + 1.0  # the other engine's place is taken 5 s later

    play(story)
