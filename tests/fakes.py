"""Stand-ins for time and for faults, and for nothing else: what a test can have for real it has for real.

`ManualLoop` makes a whole asyncio program deterministic: its clock stands still while there is work and jumps to the
next timer when there is none, so minutes are played in milliseconds, and waiting for what never comes is an error.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from service.batching.engine_thread import Returned, Settle, Work
from service.batching.run import Run
from service.batching.series import Series
from service.core.contract import Array, Arrays
from service.core.errors import Stuck


class ManualClock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class Hang(AssertionError):
    """Something is awaited that nothing will ever bring."""


class CountingFuture(asyncio.Future[Any]):
    """A future that counts how often somebody tried to end it; `ManualLoop.futures` holds them all."""

    ends = 0

    def set_result(self, result: Any) -> None:
        self.ends += 1
        super().set_result(result)

    def set_exception(self, exception: Any) -> None:
        self.ends += 1
        super().set_exception(exception)


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop in manual time; `before_advance` is called whenever all work of an instant is done."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_ManualSelector(self))
        self.clock = clock
        self.before_advance: Callable[[], None] = lambda: None
        self.futures: list[CountingFuture] = []

    def time(self) -> float:
        return self.clock.now_s()

    def create_future(self) -> CountingFuture:
        future = CountingFuture(loop=self)
        self.futures.append(future)
        return future


_MOST_ROUNDS = 20_000  # of the loop within one instant


class _ManualSelector(selectors.SelectSelector):
    def __init__(self, loop: ManualLoop) -> None:
        super().__init__()
        self._loop = loop
        self._rounds = 0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        self._rounds += 1
        if self._rounds > _MOST_ROUNDS:
            raise Hang("the loop spins without time passing")
        if events or (timeout is not None and timeout <= 0):
            return events
        self._rounds = 0
        self._loop.before_advance()
        if timeout is None:
            raise Hang("nothing is left to do, and somebody still waits")
        self._loop.clock.advance(timeout)
        return events


def run_manually(main: Callable[[ManualLoop], Any]) -> Any:
    """Runs a coroutine function in manual time; it gets the loop, whose `clock` is the time."""
    loop = ManualLoop(ManualClock())
    try:
        return loop.run_until_complete(main(loop))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()


class Fault(Enum):
    """What goes wrong in a run."""

    NONE = "none"
    RAISES = "raises"
    EXITS = "raises SystemExit"
    WRONG_LENGTH = "one output row too few"
    NOT_ARRAYS = "no arrays"
    HANGS = "hangs until it is asked to stop"
    DEAF = "hangs for ever"


@dataclass(frozen=True)
class Act:
    """One run of a fake engine: how long it takes, and what goes wrong."""

    seconds: float = 0.0
    fault: Fault = Fault.NONE


class FakeEngine:
    """Answers y = 2 * x, fails on a negative x, and otherwise does what its acts say, one a run; the last one stays."""

    def __init__(self, acts: Iterable[Act] = ()) -> None:
        self._acts: Iterator[Act] = itertools.chain(acts, itertools.repeat(Act()))
        self._asked_to_stop = threading.Event()
        self.released = threading.Event()
        self.batches: list[Array] = []
        self.stops = 0
        self.on_stop: Callable[[], None] = lambda: None

    def run(self, arrays: Arrays) -> Any:
        """On a real thread, in real time."""
        act = self.next_act()
        self._asked_to_stop.clear()
        if act.fault is Fault.DEAF:
            self.released.wait()
        elif self._asked_to_stop.wait(60.0 if act.fault is Fault.HANGS else act.seconds):
            raise Stuck("stopped")
        return self.compute(arrays, act.fault)

    def next_act(self) -> Act:
        return next(self._acts)

    def compute(self, arrays: Arrays, fault: Fault) -> Any:
        x = arrays["x"]
        self.batches.append(x)
        if fault is Fault.EXITS:
            raise SystemExit(3)
        if fault is Fault.RAISES or (x < 0).any():
            raise ValueError("Traceback of /some/where: bad row")
        if fault is Fault.NOT_ARRAYS:
            return [x]
        return {"y": x[1:] * 2 if fault is Fault.WRONG_LENGTH else x * 2}

    def stop(self) -> None:
        self.stops += 1
        self._asked_to_stop.set()
        self.on_stop()


class ManualThreads:
    """Threads of a batcher that are none: runs take manual time on the loop itself.

    Attributes:
        on_start, on_finish: called with every run that is not skipped, and with every run, for a test that watches.
        on_handed: called with what an engine is handed at once.
        replace_s: how long work done aside takes.
        refused: lines for which there is no thread, the next ones.
    """

    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.lines: list[ManualLine] = []
        self.on_start: Callable[[Run], None] = lambda run: None
        self.on_handed: Callable[[Run | Series], None] = lambda handed: None
        self.on_finish: Callable[[Run], None] = lambda run: None
        self.replace_s = 0.05
        self.refused = 0

    def line(self, engine: FakeEngine, returned: Returned) -> ManualLine:
        if self.refused:
            self.refused -= 1
            raise RuntimeError("can't start new thread")
        self.lines.append(ManualLine(self, engine, returned))
        return self.lines[-1]

    def aside(self, work: Work, settle: Settle) -> None:
        def body() -> None:
            try:
                result = work()
            except Exception as error:
                settle(None, error)
            else:
                settle(result, None)

        self.loop.call_later(self.replace_s, body)


class ManualLine:
    """The way to one fake engine; `ended` once nobody will put a run any more."""

    def __init__(self, threads: ManualThreads, engine: FakeEngine, returned: Returned) -> None:
        self._threads = threads
        self._engine = engine
        self._returned = returned
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = 0.0
        self.run: Run | None = None
        self.handed: Run | Series | None = None
        self.used_s = 0.0
        self.ended = False
        engine.on_stop = self._asked_to_stop

    def put(self, run: Run | Series) -> bool:
        assert self.handed is None and not self.ended, "an engine got a second run, or one after its end"
        self.handed = run
        self._threads.on_handed(run)
        self._turns = run.turns() if isinstance(run, Series) else iter((run,))
        self._begin(next(self._turns))
        return False

    def _begin(self, run: Run) -> None:
        self.run = run
        self._skipped = run.skip
        self._act = Act() if run.skip else self._engine.next_act()
        self._began_s = run.started_s = self._threads.loop.time()
        if not run.skip:
            self._threads.on_start(run)
        if self._act.fault not in (Fault.HANGS, Fault.DEAF):
            self._timer = self._threads.loop.call_later(self._act.seconds, self._finish)

    def end(self) -> None:
        self.ended = True

    def _asked_to_stop(self) -> None:
        if self.run is not None and self._act.fault is not Fault.DEAF and self._act is not _STOPPED:
            if self._timer is not None:
                self._timer.cancel()
            self._act = _STOPPED
            self._threads.loop.call_soon(self._finish)

    def _finish(self) -> None:
        run, self.run, self._timer = self.run, None, None
        assert run is not None
        asked, run.skip = run.skip, self._skipped  # a thread reads it when it begins, which was some time ago
        run.execute(_Instant(self._engine, self._act), _BeganAt(self._began_s, self._threads.loop))
        run.skip = asked
        self._threads.on_finish(run)
        following = next(self._turns, None)
        if following is not None:
            self._begin(following)
            return
        handed, self.handed = self.handed, None
        assert handed is not None
        self._returned(handed)


_STOPPED = Act(0.0, Fault.HANGS)


class _Instant:
    """A fake engine whose time has passed already."""

    def __init__(self, engine: FakeEngine, act: Act) -> None:
        self._engine = engine
        self._act = act
        self.stop = engine.stop

    def run(self, arrays: Arrays) -> Any:
        if self._act is _STOPPED:
            raise Stuck("stopped")
        return self._engine.compute(arrays, self._act.fault)


class _BeganAt:
    """A clock whose first reading lies back: when the run began."""

    def __init__(self, began_s: float, loop: ManualLoop) -> None:
        self._readings = itertools.chain([began_s, began_s], iter(loop.time, None))

    def now_s(self) -> float:
        return next(self._readings)


class RecordingObserver:
    """Keeps what a batcher reports."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.failures: list[tuple[int, int, BaseException, str]] = []
        self.drops: list[str] = []
        self.refusals: list[str] = []
        self.crashes: list[BaseException] = []

    def batch_ran(self, report: Any) -> None:
        self.reports.append(report)

    def run_failed(self, rows: int, requests: int, error: BaseException, detail: str) -> None:
        self.failures.append((rows, requests, error, detail))

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def crashed(self, error: BaseException) -> None:
        self.crashes.append(error)


def ids(first: int, rows: int, width: int = 2) -> dict[str, Array]:
    """Inputs whose every row says whose it is: x of shape [rows, width], row i filled with first + i."""
    column = np.arange(first, first + rows, dtype=np.float64).reshape(rows, 1)
    return {"x": np.repeat(column, width, axis=1)}


class PacedRunner:
    """A `Runner` that computes nothing and takes the time it is told: run number `turn` (from 0) `seconds(turn)`.

    Several may share one clock and one log, to which each run appends the runner's name.
    """

    inputs = outputs = omitted_outputs = ()
    provider = "cpu"

    def __init__(self, name: str, clock: ManualClock, log: list[str], seconds: Callable[[int], float]) -> None:
        self._name, self._clock, self._log, self._seconds = name, clock, log, seconds
        self._turns = itertools.count()

    def run(self, arrays: Arrays) -> dict[str, Array]:
        self._log.append(self._name)
        self._clock.advance(self._seconds(next(self._turns)))
        return {}

    def stop(self) -> None: ...

    def close(self) -> None: ...
