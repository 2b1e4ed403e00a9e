"""A crash is counted and restarted; a crash loop is given up; a finished body stays finished."""

import asyncio

import pytest

from service.core.clock import MonotonicClock
from service.core.supervise import CrashWindow, Supervisor


@pytest.mark.parametrize(
    ("times_s", "restarts"),
    [
        ([0.0], [True]),
        ([0.0, 1.0], [True, True]),
        ([0.0, 1.0, 2.0], [True, True, False]),
        ([0.0, 1.0, 61.5], [True, True, True]),
        ([0.0, 1.0, 60.0], [True, True, False]),
    ],
)
def test_the_third_crash_within_a_minute_is_a_loop(times_s: list[float], restarts: list[bool]) -> None:
    window = CrashWindow()
    assert [window.record(now_s) for now_s in times_s] == restarts


class Body:
    """Crashes `crashes` times, then runs until it is cancelled, or returns."""

    def __init__(self, crashes: int, *, returns: bool = False) -> None:
        self.left = crashes
        self.returns = returns
        self.runs = 0
        self.steady = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        if self.left:
            self.left -= 1
            raise ValueError("planted")
        self.steady.set()
        if not self.returns:
            await asyncio.Event().wait()


def supervised(body: Body) -> tuple[Supervisor, list[Exception], asyncio.Future[Exception]]:
    crashes: list[Exception] = []
    gave_up: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    supervisor = Supervisor(
        "test",
        body,
        clock=MonotonicClock(),
        on_crash=crashes.append,
        on_give_up=gave_up.set_result,
        restart_after_s=0.001,
    )
    supervisor.start()
    return supervisor, crashes, gave_up


async def test_a_crashed_body_is_started_again() -> None:
    body = Body(crashes=2)
    supervisor, crashes, gave_up = supervised(body)
    await asyncio.wait_for(body.steady.wait(), 30)
    assert (body.runs, len(crashes)) == (3, 2)
    assert not gave_up.done()
    await supervisor.stop()


async def test_a_crash_loop_is_given_up_with_the_last_error() -> None:
    body = Body(crashes=99)
    supervisor, crashes, gave_up = supervised(body)
    error = await asyncio.wait_for(gave_up, 30)
    assert error is crashes[-1]
    assert body.runs == 3
    await supervisor.stop()


async def test_a_body_that_returns_is_not_started_again() -> None:
    body = Body(crashes=0, returns=True)
    supervisor, crashes, _ = supervised(body)
    await asyncio.wait_for(body.steady.wait(), 30)
    await asyncio.sleep(0.02)
    assert (body.runs, crashes) == (1, [])
    await supervisor.stop()


async def test_what_a_body_waits_for_may_be_cancelled_and_that_is_a_crash() -> None:
    """Such an end is no exception to Python: a probe that died so would be asked for its last word for ever."""
    waited_for = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    steady = asyncio.Event()

    async def body() -> None:
        if not crashes:
            await waited_for
        steady.set()
        await asyncio.Event().wait()

    crashes: list[Exception] = []
    supervisor = Supervisor(
        "test", body, clock=MonotonicClock(), on_crash=crashes.append, on_give_up=crashes.append, restart_after_s=0.001
    )
    supervisor.start()
    await asyncio.wait_for(steady.wait(), 30)
    assert [str(error) for error in crashes] == ["what it waited for was cancelled"]
    await supervisor.stop()


async def test_a_body_that_is_stopped_has_not_crashed() -> None:
    body = Body(crashes=0)
    supervisor, crashes, _ = supervised(body)
    await asyncio.wait_for(body.steady.wait(), 30)
    await supervisor.stop()
    assert (body.runs, crashes) == (1, [])


async def test_stopping_what_never_started_is_harmless() -> None:
    body = Body(0)
    supervisor = Supervisor("idle", body, clock=MonotonicClock(), on_crash=lambda _: None, on_give_up=lambda _: None)
    await supervisor.stop()
    assert body.runs == 0
