"""The threads of a batcher: one for each engine, and one for each piece of blocking work beside it.

One hop each way: a run goes in through a queue without a lock of ours and comes back by `call_soon_threadsafe`. All are
daemons, so that an engine that never returns can be left behind. A run that `quick` allows is done on the loop itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol

from service.batching.contract import Engine
from service.batching.quick import Quick
from service.batching.run import Run
from service.batching.series import Series
from service.core.clock import Clock

Returned = Callable[[Run | Series], None]
Work = Callable[[], Engine]
Settle = Callable[[Engine | None, BaseException | None], None]


class EngineLine(Protocol):
    """The way to one engine and back."""

    def put(self, run: Run | Series) -> bool:
        """Hands a run over; it comes back, executed, through the `returned` of its line, on the loop's thread.

        Returns:
            True where it is executed already, which nobody hears of.
        """
        ...

    @property
    def used_s(self) -> float:
        """Processor time of its thread so far, seconds."""
        ...

    def end(self) -> None:
        """Ends the line after the run in flight, if that ever returns."""
        ...


class Threads(Protocol):
    """Makes lines, and does blocking work beside the loop. Tests pass one without threads."""

    def line(self, engine: Engine, returned: Returned) -> EngineLine:
        """A line to `engine`. Raises RuntimeError where there is no thread for it."""
        ...

    def aside(self, work: Work, settle: Settle) -> None:
        """Calls `work` elsewhere, and `settle` with its result or its error on the loop's thread."""
        ...


class EngineThread:
    """A line that is one dedicated thread, and the loop's own for runs that are too quick to be worth a hop."""

    def __init__(
        self, engine: Engine, returned: Returned, loop: asyncio.AbstractEventLoop, clock: Clock, quick: Quick | None
    ) -> None:
        self._engine = engine
        self._returned = returned
        self._loop = loop
        self._clock = clock
        self._quick = quick
        self._runs: SimpleQueue[Run | Series | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def put(self, run: Run | Series) -> bool:
        """Runs it here and now where it is quick, and says so; else on the thread."""
        if self._quick is None or isinstance(run, Series) or not self._quick.allows(run):
            self._runs.put(run)
            return False
        before_s = time.thread_time()
        run.execute(self._engine, self._clock)
        ended_s = run.ended_s or self._clock.now_s()  # one that fails holds the loop up just as long
        self._quick.learn(run, ended_s - run.started_s, time.thread_time() - before_s)
        return True

    @property
    def used_s(self) -> float:
        """Processor time of the thread so far, where the system tells it; to be asked before `end`."""
        if self._thread.ident is None or not self._thread.is_alive() or sys.platform != "linux":
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def end(self) -> None:
        """Ends the thread once it is back from the run in flight."""
        self._runs.put(None)

    def _serve(self) -> None:
        while (run := self._runs.get()) is not None:
            run.execute(self._engine, self._clock)
            if not _post(self._loop, self._returned, run):
                return
            del run  # an idle thread must hold nobody's arrays


class LoopThreads:
    """Real threads that report to one event loop.

    Args:
        loop: where runs come back.
        clock: monotonic seconds.
        quick: which runs are done on the loop itself; None for none.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, quick: Quick | None = None) -> None:
        self._loop = loop
        self._clock = clock
        self._quick = quick

    def line(self, engine: Engine, returned: Returned) -> EngineLine:
        """A dedicated thread for `engine`."""
        return EngineThread(engine, returned, self._loop, self._clock, self._quick)

    def aside(self, work: Work, settle: Settle) -> None:
        """One more daemon thread, for this piece of work alone."""

        def body() -> None:
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:
                error = raised.with_traceback(None)
            _post(self._loop, settle, result, error)

        try:
            threading.Thread(target=body, name="engine-replacement", daemon=True).start()
        except RuntimeError as refused:  # there is no thread for it now
            self._loop.call_soon(settle, None, refused.with_traceback(None))


def _post(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> bool:
    """Calls back on the loop's thread; False once the loop is closed and nobody is left to hear."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        return False
    return True
