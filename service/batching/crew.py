"""The engines of a batcher: who is idle, who runs what, who does not come back and is replaced.

An engine that overruns is asked to stop; one that ignores that is left behind with its thread, its run is declared
lost, and a new engine takes its place. Too many of them and the process is told to end. Knows nothing of tickets or
queues. Owned by the event loop's thread.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from service.batching.alarm import Alarm
from service.batching.contract import Engine
from service.batching.curve import CostCurve
from service.batching.engine_thread import EngineLine, Threads
from service.batching.policy import give_up_at_s
from service.batching.run import Run
from service.batching.series import Series
from service.core.clock import Clock
from service.core.supervise import CrashWindow

_ASK_AGAIN_S = 0.05  # a request to stop that comes just before the run begins would be lost
_RETRY_REPLACE_S = 1.0
_RETRY_BESIDE_OTHERS_S = 10.0


class CrewOwner(Protocol):
    """Who hears of runs and engines, on the event loop's thread."""

    def run_returned(self, run: Run | Series) -> None:
        """The run came back, well or not; its engine is idle already."""
        ...

    def run_lost(self, run: Run | Series) -> None:
        """The run was given up with its engine."""
        ...

    def crew_changed(self) -> None:
        """An engine joined, or the last one is gone."""
        ...


@dataclass(frozen=True, slots=True)
class CrewLimits:
    """How long a run may take, and how long an engine may take to obey a request to stop."""

    run_timeout_s: float
    stop_grace_s: float


@dataclass(slots=True, eq=False)
class Worker:
    """One engine and the line to it.

    Attributes:
        run: what it runs now, handed over at `started_s`.
        free_at_s: when that run is predicted to be done.
        stopped_s: when it was asked to stop that run, `inf` when it was not.
    """

    engine: Engine
    line: EngineLine
    run: Run | Series | None = None
    started_s: float = 0.0
    free_at_s: float = 0.0
    stopped_s: float = math.inf


class Crew:
    """The engines of one batcher.

    Args:
        threads: makes the lines to engines.
        clock: monotonic seconds.
        limits: of one run.
        owner: hears what happens.
        guard: wraps what the event loop calls back, so that it does not fail unheard.
        curve: what a run usually takes.
        replace: makes an engine in place of the one given, blocking; None where a lost one is not replaced.
        on_fatal: called with one sentence when engines are lost faster than replacing them makes sense.
    """

    def __init__(
        self,
        threads: Threads,
        clock: Clock,
        limits: CrewLimits,
        owner: CrewOwner,
        *,
        guard: Callable[[Callable[..., None]], Callable[..., None]],
        curve: CostCurve,
        replace: Callable[[Engine], Engine] | None,
        on_fatal: Callable[[str], None],
    ) -> None:
        self._threads = threads
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._guard = guard
        self._curve = curve
        self._replace = replace
        self._on_fatal = on_fatal
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._loop, clock, guard(self._watch))
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._losses = CrashWindow()
        self._failed_replacements = CrashWindow()
        self._ending = False
        self._all_idle: asyncio.Event | None = None  # of who waits for that
        self.replacing = 0

    @property
    def engines(self) -> list[Engine]:
        """Those in service; one that was given up is not among them."""
        return [worker.engine for worker in self._workers]

    @property
    def idle(self) -> int:
        """Engines without a run."""
        return len(self._idle)

    @property
    def used_s(self) -> float:
        """Processor time of the engines' threads so far; those of engines that are gone are not among them."""
        return sum(worker.line.used_s for worker in self._workers)

    @property
    def busy(self) -> list[Run]:
        """What runs now."""
        handed = [worker.run for worker in self._workers if worker.run is not None]
        return [run for one in handed for run in _runs_of(one)]

    @property
    def size(self) -> int:
        """How many engines are in service."""
        return len(self._workers)

    @property
    def free_at_s(self) -> float:
        """When the first engine is predicted to be idle; -inf while one is."""
        return -math.inf if self._idle or not self._workers else min(worker.free_at_s for worker in self._workers)

    def join(self, engines: Sequence[Engine]) -> None:
        """Takes engines into service, all or none. Raises RuntimeError where there is no thread for one."""
        joining: list[Worker] = []
        try:
            for engine in engines:
                joining.append(Worker(engine, self._threads.line(engine, self._guard(self._returned))))
        except RuntimeError:
            for worker in joining:
                worker.line.end()
            raise
        self._workers += joining
        self._idle += joining

    def dispatch(self, run: Run | Series, now_s: float) -> bool:
        """Hands a run to an idle engine; there must be one. True where it is back already, and nobody hears of it."""
        worker = self._idle[-1]
        if worker.line.put(run):
            return True
        self._idle.pop()
        worker.run, worker.started_s, worker.stopped_s = run, now_s, math.inf
        worker.free_at_s = now_s + sum(self._curve.predict_s(each.rows) for each in _runs_of(run))
        self._alarm.at(now_s + self._limits.run_timeout_s)
        return False

    def stop(self, run: Run) -> None:
        """Nobody wants this run any more: asks its engine to end it."""
        now_s = self._clock.now_s()
        for worker in self._workers:
            handed = worker.run
            if handed is run or (isinstance(handed, Series) and run in handed.runs and handed.leave(run, now_s)):
                self._ask_to_stop(worker, handed, now_s)

    def stop_all(self) -> None:
        """Nobody wants anything that runs any more."""
        for run in self.busy:
            run.wanted = 0
            self.stop(run)

    def stop_replacing(self) -> None:
        """From now on nobody takes the place of a lost engine."""
        self._ending = True

    async def end(self) -> None:
        """Lets every engine go: at once when idle, after the grace when it runs something. Nobody is replaced."""
        self._ending = True
        self._all_idle = asyncio.Event()
        self._note_idle()
        self.stop_all()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_idle.wait(), self._limits.stop_grace_s)
        self._alarm.cancel()
        for worker in self._workers:
            worker.line.end()
        self._workers.clear()
        self._idle.clear()
        self._replace = None  # it holds what a version was made of, and this crew lives on in a cycle

    def _returned(self, run: Run | Series) -> None:
        for worker in self._workers:
            if worker.run is run:
                worker.run = None
                self._idle.append(worker)
                self._note_idle()
                self._owner.run_returned(run)
                return

    def _note_idle(self) -> None:
        if self._all_idle is not None and len(self._idle) == len(self._workers):
            self._all_idle.set()

    def _watch(self, now_s: float) -> None:
        for worker in tuple(self._workers):
            if worker.run is None:
                continue
            if now_s >= self._give_up_at_s(worker):
                self._lose(worker, worker.run, now_s)
            elif worker.stopped_s != math.inf or now_s >= worker.started_s + self._limits.run_timeout_s:
                self._ask_to_stop(worker, worker.run, now_s)
            else:
                self._alarm.at(worker.started_s + self._limits.run_timeout_s)

    def _ask_to_stop(self, worker: Worker, run: Run | Series, now_s: float) -> None:
        run.give_up()
        worker.stopped_s = min(worker.stopped_s, now_s)
        with suppress(Exception):  # an engine that cannot even be asked will be given up
            worker.engine.stop()
        self._alarm.at(min(now_s + _ASK_AGAIN_S, self._give_up_at_s(worker)))

    def _give_up_at_s(self, worker: Worker) -> float:
        limits = self._limits
        return give_up_at_s(
            worker.started_s, worker.stopped_s, timeout_s=limits.run_timeout_s, grace_s=limits.stop_grace_s
        )

    def _lose(self, worker: Worker, run: Run | Series, now_s: float) -> None:
        self._workers.remove(worker)
        worker.line.end()
        self._note_idle()
        self._owner.run_lost(run)
        if self._losses.record(now_s):
            self._bring_replacement(worker.engine)
        else:
            self._on_fatal("engines of this version keep hanging: the third did not stop within a minute")
        if not self._workers:
            self._owner.crew_changed()

    def _bring_replacement(self, lost: Engine) -> None:
        if self._replace is not None and not self._ending:
            self.replacing += 1
            self._threads.aside(partial(self._replace, lost), self._guard(partial(self._replaced, lost)))

    def _replaced(self, lost: Engine, engine: Engine | None, error: BaseException | None) -> None:
        self.replacing -= 1
        if self._ending:
            return
        if engine is not None:
            try:
                self.join([engine])
            except RuntimeError as refused:  # there is no thread for it now
                error = refused.with_traceback(None)
        if error is not None:
            self._put_off(lost, engine, error)
        self._owner.crew_changed()

    def _put_off(self, lost: Engine, engine: Engine | None, error: BaseException) -> None:
        """Tries again later: with the engine that found no thread, else with another."""
        if self._workers:  # the others go on, and another try costs nothing
            self._try_again_in(_RETRY_BESIDE_OTHERS_S, lost, engine)
        elif self._failed_replacements.record(self._clock.now_s()):
            self._try_again_in(_RETRY_REPLACE_S, lost, engine)
        else:
            self._on_fatal(f"a hanging engine could not be replaced: {error}")

    def _try_again_in(self, seconds: float, lost: Engine, engine: Engine | None) -> None:
        self.replacing += 1
        self._loop.call_later(seconds, self._guard(self._try_again), lost, engine)

    def _try_again(self, lost: Engine, engine: Engine | None) -> None:
        if engine is not None:
            self._replaced(lost, engine, None)
        else:
            self.replacing -= 1
            self._bring_replacement(lost)


def _runs_of(run: Run | Series) -> Sequence[Run]:
    return run.runs if isinstance(run, Series) else (run,)
