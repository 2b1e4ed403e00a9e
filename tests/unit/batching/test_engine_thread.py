"""Real threads: one for each engine, one hop each way, and none of them holds what it is done with."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest

from service.batching.contract import CloseReason
from service.batching.engine_thread import EngineThread, LoopThreads
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket, cut
from service.core.clock import MonotonicClock
from service.core.errors import BadModel
from tests.fakes import Act, FakeEngine, Fault, ids


def piece(first: int) -> Piece:
    ticket = Ticket(asyncio.get_running_loop().create_future(), 0.0, 0.0)
    cut(ticket, ids(first, 1), 1, max_rows=8, alone=False)
    return ticket.pieces[0]


class Line:
    """A thread, and the runs that came back from it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.back: asyncio.Queue[Run] = asyncio.Queue()
        self.heard_on: set[str] = set()
        self.thread = LoopThreads(asyncio.get_running_loop(), MonotonicClock()).line(engine, self.returned)

    def returned(self, run: Run) -> None:
        self.heard_on.add(threading.current_thread().name)
        for each in run.pieces:
            each.run = None
        self.back.put_nowait(run)

    async def next(self) -> Run:
        return await asyncio.wait_for(self.back.get(), 30)


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it never came true")


def engine_threads() -> set[threading.Thread]:
    """Those alive now; another test's may end at any moment."""
    return {thread for thread in threading.enumerate() if thread.name == "engine"}


async def test_runs_come_back_in_order_on_the_loops_thread() -> None:
    line = Line(FakeEngine())
    for first in (1, 2, 3):
        line.thread.put(Run([piece(first)], CloseReason.FULL))
    answers = [(await line.next()).parts for _ in range(3)]
    assert [parts[0]["y"][0, 0] for parts in answers if parts] == [2, 4, 6]
    assert line.heard_on == {threading.current_thread().name}
    line.thread.end()


@pytest.mark.parametrize("fault", [Fault.RAISES, Fault.EXITS, Fault.WRONG_LENGTH])
async def test_a_thread_survives_whatever_its_engine_does(fault: Fault) -> None:
    line = Line(FakeEngine([Act(fault=fault)]))
    line.thread.put(Run([piece(1)], CloseReason.FULL))
    assert (await line.next()).error is not None
    line.thread.put(Run([piece(2)], CloseReason.FULL))
    assert (await line.next()).error is None
    line.thread.end()


async def test_a_thread_ends_when_it_is_told_to() -> None:
    before = engine_threads()
    line = Line(FakeEngine())
    assert len(engine_threads() - before) == 1
    line.thread.end()
    await until(lambda: not engine_threads() - before)


class Busy(FakeEngine):
    """Computes for a while."""

    def run(self, arrays: Any) -> Any:
        end_s = time.thread_time() + 0.1
        while time.thread_time() < end_s:
            pass
        return super().run(arrays)


async def test_a_thread_tells_the_processor_time_that_it_has_taken() -> None:
    line = Line(Busy())
    line.thread.put(Run([piece(1)], CloseReason.FULL))
    await line.next()
    taken_s = line.thread.used_s
    assert taken_s >= 0.1
    await asyncio.sleep(0.1)
    assert line.thread.used_s - taken_s < 0.05
    line.thread.end()
    await until(lambda: line.thread.used_s == 0.0)


async def test_an_idle_thread_holds_nobodys_arrays() -> None:
    line = Line(engine := FakeEngine())
    line.thread.put(Run([piece(1)], CloseReason.FULL))
    run = await line.next()
    alive = weakref.ref(run.pieces[0].inputs["x"])
    engine.batches.clear()
    del run

    def gone() -> bool:
        gc.collect()
        return alive() is None

    await until(gone)  # the thread stays idle: nothing but its own letting go makes it true
    line.thread.end()


def test_a_thread_ends_when_its_loop_is_closed() -> None:
    before = engine_threads()
    engine = FakeEngine([Act(fault=Fault.DEAF)])

    async def main() -> None:
        Line(engine).thread.put(Run([piece(1)], CloseReason.FULL))

    asyncio.run(main())
    engine.released.set()
    for _ in range(1000):
        if not engine_threads() - before:
            return
        time.sleep(0.005)
    pytest.fail("the thread is still there")


async def test_work_aside_settles_on_the_loops_thread() -> None:
    threads = LoopThreads(asyncio.get_running_loop(), MonotonicClock())
    settled: asyncio.Queue[Any] = asyncio.Queue()
    names: list[str] = []

    def work() -> FakeEngine:
        names.append(threading.current_thread().name)
        return engine

    engine = FakeEngine()
    threads.aside(work, lambda result, error: settled.put_nowait((result, error, threading.current_thread().name)))
    result, error, heard_on = await asyncio.wait_for(settled.get(), 30)
    assert (result, error, heard_on) == (engine, None, threading.current_thread().name)
    assert names == ["engine-replacement"]


async def test_work_aside_that_fails_settles_with_its_error() -> None:
    threads = LoopThreads(asyncio.get_running_loop(), MonotonicClock())
    settled: asyncio.Queue[Any] = asyncio.Queue()

    def work() -> FakeEngine:
        raise BadModel("gone")

    threads.aside(work, lambda result, error: settled.put_nowait((result, error)))
    result, error = await asyncio.wait_for(settled.get(), 30)
    assert result is None
    assert isinstance(error, BadModel)
    assert error.__traceback__ is None


async def test_work_aside_for_which_there_is_no_thread_settles_with_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it would else wait for ever."""
    threads = LoopThreads(asyncio.get_running_loop(), MonotonicClock())
    settled: asyncio.Queue[Any] = asyncio.Queue()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        threads.aside(FakeEngine, lambda result, error: settled.put_nowait((result, str(error))))
    assert settled.empty()  # in a turn of its own, as any other
    assert await asyncio.wait_for(settled.get(), 30) == (None, "can't start new thread")


async def test_a_line_from_loop_threads_is_a_thread() -> None:
    line = LoopThreads(asyncio.get_running_loop(), MonotonicClock()).line(FakeEngine(), lambda run: None)
    assert isinstance(line, EngineThread)
    line.end()
