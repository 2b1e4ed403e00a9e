"""Blocking work beside the loop: its result or its error comes back, and work that never ends holds nobody up."""

import asyncio
import gc
import os
import sys
import threading
import weakref

import pytest

from service.core.errors import Unavailable
from service.serving.threads import STAND_BACK_NICE, in_thread, stand_back
from tests.unit.serving.house import until


async def test_the_result_comes_back_from_a_daemon_thread_of_that_name() -> None:
    def work() -> tuple[str, bool]:
        return threading.current_thread().name, threading.current_thread().daemon

    assert await in_thread("a name", work) == ("a name", True)


@pytest.mark.parametrize("error", [ValueError("planted"), SystemExit(3)])
async def test_what_it_raises_is_raised_here(error: BaseException) -> None:
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await in_thread("fails", work)
    assert raised.value is error


async def test_where_no_thread_is_to_be_had_it_may_be_tried_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(Unavailable, match="no more threads now"):
        await in_thread("never", lambda: None)


async def test_the_loop_goes_on_meanwhile() -> None:
    go = threading.Event()
    waiting = asyncio.ensure_future(in_thread("waits", lambda: go.wait(60)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    go.set()
    assert await waiting


async def test_a_wait_that_was_cancelled_leaves_the_work_to_its_thread() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(60)
        ended.set()

    task = asyncio.ensure_future(in_thread("left alone", work))
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert await asyncio.to_thread(ended.wait, 30)
    await asyncio.sleep(0)


def test_work_that_outlives_the_loop_ends_unheard() -> None:
    begun, go, threads = threading.Event(), threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        begun.set()
        go.wait(60)

    async def leave() -> None:
        task = asyncio.ensure_future(in_thread("outlives", work))
        assert await asyncio.to_thread(begun.wait, 30)
        task.cancel()

    asyncio.run(leave())
    go.set()
    threads[0].join(30)
    assert not threads[0].is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
async def test_a_thread_that_stands_back_does_so_alone() -> None:
    def niceness_of_this_thread() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def work() -> tuple[int, int]:
        before = niceness_of_this_thread()
        stand_back()
        return before, niceness_of_this_thread()

    ours = niceness_of_this_thread()
    assert await in_thread("humble", work) == (ours, max(ours, STAND_BACK_NICE))
    assert niceness_of_this_thread() == ours


class Weights:
    """Something large that failed work held."""


async def test_work_that_failed_keeps_nothing_until_the_next_collection() -> None:
    held: list[weakref.ref[Weights]] = []

    def work() -> None:
        weights = Weights()
        held.append(weakref.ref(weights))
        raise ValueError("planted")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="planted"):
            await in_thread("fails", work)
        await until(lambda: held[0]() is None, within_s=30.0)
    finally:
        gc.enable()
