"""Levels, policies and order as a client meets them: one story each, in manual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.batching.contract import DropReason, WaitPolicy
from service.core.errors import Expired, Rejected
from tests.fakes import Act, FakeEngine, Fault, ManualLoop
from tests.unit.batching.bench import Bench, outcome, play


def busy(loop: ManualLoop, *, max_rows: int = 1, seconds: float = 1.0, **knobs: Any) -> Bench:
    """A batcher whose one engine runs request 100 for a second, then whatever comes."""
    bench = Bench(loop, FakeEngine([Act(seconds)]), max_rows=max_rows, **knobs)
    bench.submit(100)
    return bench


async def begun(loop: ManualLoop, by_s: float = 0.1) -> None:
    await asyncio.sleep(by_s)


def firsts(bench: Bench) -> list[float]:
    return [batch[0] for batch in bench.batches]


def test_a_better_level_is_served_first_and_in_order_of_arrival() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, levels=3)
        await begun(loop)
        tasks = [bench.submit(n, priority=p) for n, p in ((1, 3), (2, 1), (3, 0), (4, 2), (5, 1), (6, 99))]
        await asyncio.wait(tasks)
        assert firsts(bench) == [100, 2, 5, 3, 4, 6, 1]

    play(story)


def test_control_without_levels_priorities_are_ignored() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop)
        await begun(loop)
        await asyncio.wait([bench.submit(n, priority=9 - n) for n in (1, 2, 3)])
        assert firsts(bench) == [100, 1, 2, 3]

    play(story)


def test_a_batch_holds_several_levels_the_best_first() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, max_rows=4, levels=2)
        await begun(loop)
        await asyncio.wait([bench.submit(n, priority=p) for n, p in ((1, 2), (2, 1), (3, 2), (4, 1), (5, 1))])
        assert bench.batches == [[100], [2, 4, 5, 1], [3]]

    play(story)


def test_a_shape_whose_head_is_of_a_better_level_goes_first() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, max_rows=4, levels=2)
        await begun(loop)
        await asyncio.wait([bench.submit(1, priority=2), bench.submit(2, priority=1, width=3)])
        assert firsts(bench) == [100, 2, 1]

    play(story)


def test_each_level_has_a_queue_of_its_own() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, levels=2, level_waiting={1: WaitPolicy(max_queue=1)}, max_queue=2)
        await begun(loop)
        tasks = [bench.submit(n, priority=p) for n, p in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 2))]
        ends = [await outcome(task) for task in tasks]
        assert [ends[0], ends[2], ends[3]] == [[2], [6], [8]]
        assert "the queue of priority level 1 is full: 1 requests wait already" in str(ends[1])
        assert isinstance(ends[4], Rejected) and "level 2 is full: 2" in str(ends[4])

    play(story)


def test_a_long_queue_of_lesser_levels_does_not_make_a_deadline_impossible() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, levels=2)
        bench.curve.observe(1, 1.0)
        await begun(loop)
        crowd = [bench.submit(n, priority=2) for n in range(1, 9)]
        await begun(loop)
        first = bench.submit(50, priority=1, within_s=3.0)
        refused = bench.submit(60, priority=2, within_s=3.0)
        assert isinstance(await outcome(refused), Rejected)
        assert await outcome(first) == [100]
        await asyncio.wait(crowd)

    play(story)


def test_a_request_whose_time_to_wait_is_over_is_rejected() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop)
        await begun(loop)
        shorter, longer = bench.submit(1, timeout_s=0.2), bench.submit(2, timeout_s=2.0)
        assert isinstance(await outcome(shorter), Rejected)
        assert (bench.now_s(), bench.observer.drops) == (0.3, [DropReason.EXPIRED])
        assert await outcome(longer) == [4]

    play(story)


def test_a_timeout_that_the_policy_does_not_allow_is_ignored() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, allows_timeout=False)
        await begun(loop)
        assert await outcome(bench.submit(1, timeout_s=0.2)) == [2]

    play(story)


def test_a_timeout_that_would_pass_in_the_queue_is_refused_at_once() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop)
        bench.curve.observe(1, 1.0)
        await begun(loop)
        crowd = [bench.submit(n) for n in range(1, 6)]
        await begun(loop)
        error = await outcome(bench.submit(9, timeout_s=2.0))
        assert isinstance(error, Rejected) and "the timeout would pass in the queue" in str(error)
        assert bench.now_s() == 0.2
        await asyncio.wait(crowd)

    play(story)


@pytest.mark.parametrize(("delays", "order"), [(True, [100, 2, 3, 1]), (False, [100, 2, 3])])
def test_a_request_that_may_be_late_waits_behind_its_level_and_is_answered(delays: bool, order: list[int]) -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, delays=delays)
        await begun(loop)
        late = bench.submit(1, timeout_s=0.2)
        tasks = [late, bench.submit(2), bench.submit(3)]
        await asyncio.wait(tasks)
        assert firsts(bench) == order
        assert isinstance(await outcome(late), list if delays else Rejected)

    play(story)


def test_who_is_late_waits_behind_those_too_that_come_later() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, delays=True)
        await begun(loop)
        late = bench.submit(1, timeout_s=0.2)
        await begun(loop, 0.5)
        await asyncio.wait([late, bench.submit(2), bench.submit(3)])
        assert firsts(bench) == [100, 2, 3, 1]

    play(story)


def test_the_late_of_a_level_go_before_lesser_levels() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, delays=True, levels=2)
        await begun(loop)
        tasks = [
            bench.submit(1, priority=2),
            bench.submit(2, priority=1, timeout_s=0.2),
            bench.submit(3, priority=1),
            bench.submit(4, priority=2, timeout_s=0.3),
            bench.submit(5, priority=2),
        ]
        await asyncio.wait(tasks)
        assert firsts(bench) == [100, 3, 2, 1, 5, 4]

    play(story)


def test_who_is_late_still_has_a_deadline_and_may_leave() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = busy(loop, delays=True)
        await begun(loop)
        doomed, leaves = bench.submit(1, timeout_s=0.2, within_s=0.5), bench.submit(2, timeout_s=0.2)
        await begun(loop, 0.4)
        leaves.cancel()
        assert isinstance(await outcome(doomed), Expired)
        assert bench.now_s() == 0.6
        assert (bench.batcher.pending, bench.batcher.snapshot().queued_rows) == (1, 0)

    play(story)


def test_a_split_request_that_has_begun_is_not_late() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 3), max_rows=1)
        whole = bench.submit(1, 3, timeout_s=0.5)
        assert await outcome(whole) == [2, 4, 6]
        assert bench.now_s() == 3.0

    play(story)


def test_a_split_request_of_which_a_part_was_run_did_not_leave_the_queue_without_a_run() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine([Act(1.0)] * 3), max_rows=1)
        begun_with, never_run = bench.submit(1, 3, within_s=1.5), bench.submit(9, 3, within_s=1.5)
        assert [type(await outcome(task)) for task in (begun_with, never_run)] == [Expired, Expired]
        assert bench.observer.drops == [DropReason.EXPIRED]

    play(story)


def test_a_held_batch_goes_before_the_time_to_wait_is_over() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_rows=8, max_delay_s=5.0)
        bench.curve.observe(1, 0.1)
        bench.curve.observe(8, 0.1)
        assert await outcome(bench.submit(1, timeout_s=1.0)) == [2]
        assert 0.5 < bench.now_s() < 1.0

    play(story)


def test_a_newcomer_of_a_better_level_does_not_lengthen_the_wait_of_the_oldest() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, max_rows=8, max_delay_s=1.0, levels=2)
        first = bench.submit(1, priority=2)
        await begun(loop, 0.9)
        second = bench.submit(2, priority=1)
        await asyncio.wait([first, second])
        assert (bench.now_s(), bench.batches) == (1.0, [[2, 1]])

    play(story)


def test_answers_leave_in_order_though_engines_do_not_keep_it() -> None:
    async def story(loop: ManualLoop) -> None:
        slow, quick = FakeEngine([Act(3.0)]), FakeEngine([Act(0.5)] * 9)
        bench = Bench(loop, quick, slow, max_rows=1, keeps_order=True)
        ends: list[int] = []
        tasks = [bench.submit(n) for n in (1, 2, 3)]
        for n, task in enumerate(tasks):
            task.add_done_callback(lambda _, n=n: ends.append(n))
        await asyncio.wait(tasks)
        assert (ends, bench.now_s()) == ([0, 1, 2], 3.0)
        assert len(bench.engines[0].batches) == 2  # nobody stood still meanwhile

    play(story)


def test_held_answers_fill_the_queue_so_that_they_are_bounded() -> None:
    async def story(loop: ManualLoop) -> None:
        slow, quick = FakeEngine([Act(3.0)]), FakeEngine()
        bench = Bench(loop, quick, slow, max_rows=1, keeps_order=True, max_queue=3)
        tasks = [bench.submit(1)]
        for n in range(2, 9):
            await begun(loop)
            tasks.append(bench.submit(n))
        ends = [await outcome(task) for task in tasks]
        assert ends[:4] == [[2], [4], [6], [8]]
        assert all(isinstance(end, Rejected) for end in ends[4:])

    play(story)


def test_nor_is_anybody_read_while_held_answers_fill_it() -> None:
    async def story(loop: ManualLoop) -> None:
        bench = Bench(loop, FakeEngine(), FakeEngine([Act(3.0)]), max_rows=1, keeps_order=True, max_queue=2)
        for n in (1, 2, 3):
            bench.batcher.check_room()
            bench.submit(n)
            await begun(loop)
        with pytest.raises(Rejected, match="full"):
            bench.batcher.check_room()
        await asyncio.sleep(3.0)
        bench.batcher.check_room()

    play(story)


def test_a_failure_in_front_lets_the_answers_behind_it_out() -> None:
    async def story(loop: ManualLoop) -> None:
        slow, quick = FakeEngine([Act(1.0, Fault.RAISES)]), FakeEngine()
        bench = Bench(loop, quick, slow, max_rows=1, keeps_order=True)
        fails, waits, leaves = bench.submit(1), bench.submit(2), bench.submit(3)
        await begun(loop)
        leaves.cancel()
        assert await outcome(waits) == [4]
        assert bench.now_s() == 1.0
        assert not isinstance(await outcome(fails), list)
        await bench.batcher.close(drain=True)

    play(story)
