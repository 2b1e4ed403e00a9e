"""One timer for many points in time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from service.batching.alarm import Alarm
from tests.fakes import ManualClock, ManualLoop, run_manually


def play(body: Callable[[ManualLoop, Alarm, list[float]], Awaitable[None]]) -> list[float]:
    """Runs `body` with an alarm whose rings, as seconds since the start, are returned."""
    rings: list[float] = []

    async def main(loop: ManualLoop) -> None:
        start_s = loop.time()
        alarm = Alarm(loop, loop.clock, lambda now_s: rings.append(round(now_s - start_s, 6)))
        await body(loop, alarm, rings)

    run_manually(main)
    return rings


@pytest.mark.parametrize(
    ("points", "rings"),
    [
        ([2.0], [2.0]),
        ([2.0, 1.0], [1.0]),
        ([1.0, 2.0], [1.0]),
        ([-5.0], [0.0]),
        ([math.inf], []),
        ([], []),
    ],
    ids=["one", "the sooner of two", "in any order", "past", "never", "none"],
)
def test_it_rings_once_at_the_soonest_point(points: list[float], rings: list[float]) -> None:
    async def body(loop: ManualLoop, alarm: Alarm, _: list[float]) -> None:
        for point in points:
            alarm.at(loop.time() + point)
        await asyncio.sleep(10)

    assert play(body) == rings


def test_soon_is_once_after_all_that_is_under_way_and_keeps_other_points() -> None:
    async def body(loop: ManualLoop, alarm: Alarm, rings: list[float]) -> None:
        alarm.at(loop.time() + 2.0)
        for _ in range(3):
            alarm.soon()
        assert rings == []
        await asyncio.sleep(0)
        assert rings == [0.0]
        alarm.soon()
        await asyncio.sleep(1)
        assert rings == [0.0, 0.0]
        await asyncio.sleep(10)

    assert play(body) == [0.0, 0.0, 2.0]


def test_it_can_be_set_again_from_its_ring() -> None:
    async def main(loop: ManualLoop) -> list[float]:
        rings: list[float] = []

        def ring(now_s: float) -> None:
            rings.append(now_s)
            if len(rings) < 3:
                alarm.at(now_s + 1.0)

        alarm = Alarm(loop, loop.clock, ring)
        alarm.at(loop.time() + 1.0)
        await asyncio.sleep(10)
        return rings

    assert run_manually(main) == [1001.0, 1002.0, 1003.0]


def test_a_cancelled_alarm_is_silent_until_it_is_set_again() -> None:
    async def body(loop: ManualLoop, alarm: Alarm, rings: list[float]) -> None:
        alarm.at(loop.time() + 1.0)
        alarm.cancel()
        await asyncio.sleep(2)
        assert rings == []
        alarm.at(loop.time() + 1.0)
        await asyncio.sleep(2)

    assert play(body) == [3.0]


def test_a_timer_that_comes_much_too_early_is_set_again() -> None:
    async def main(loop: ManualLoop) -> None:
        slow = ManualClock(0.0)  # half as fast as the loop's
        rings: list[float] = []
        alarm = Alarm(loop, slow, rings.append)
        alarm.at(1.0)
        for _ in range(19):
            await asyncio.sleep(0.1)
            slow.advance(0.05)
        assert rings == []
        await asyncio.sleep(0.1)
        slow.advance(0.05)
        await asyncio.sleep(0.1)
        assert rings == [pytest.approx(1.0)]

    run_manually(main)


async def test_it_never_says_a_time_before_the_point_even_when_the_loop_rounds_down() -> None:
    class Behind:
        def now_s(self) -> float:
            return loop.time() - 0.0005

    loop = asyncio.get_running_loop()
    rang: asyncio.Future[float] = loop.create_future()
    alarm = Alarm(loop, Behind(), rang.set_result)
    at_s = Behind().now_s() + 0.02
    alarm.at(at_s)
    assert await asyncio.wait_for(rang, 5) >= at_s
