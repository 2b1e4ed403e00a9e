"""Work on a thread that builds runners and can be given up, without leaking a runner or waiting for a stuck one.

Between `keep` and the end of the work a runner belongs to the job; a job that is given up, or fails, closes them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from service.core.errors import Stuck
from service.runtime.runner import Runner
from service.serving.closing import close_all
from service.serving.threads import in_thread

T = TypeVar("T")

GRACE_S = 2.0


class LoadJob(Generic[T]):
    """One load.

    Args:
        what: names the version in messages, such as "version '1' of model 'digits'".
        work: runs on a thread of its own; gets the job, hands it each runner through `keep`, looks at `cancel`.
    """

    def __init__(self, what: str, work: Callable[[LoadJob[T]], T]) -> None:
        self.cancel = threading.Event()
        self._what = what
        self._work = work
        self._lock = threading.Lock()  # guards _runners and _ended, between the thread and the loop that gives up
        self._runners: list[Runner] = []
        self._ended = False
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Gives the work up now, as if its time were over; called on the event loop."""
        self._stopped.set()

    def keep(self, runner: Runner) -> Runner:
        """Makes `runner` the job's own until the work ends; called on the work's thread.

        Raises:
            Stuck: the job was given up meanwhile.
        """
        with self._lock:
            self._runners.append(runner)
        self._check()
        return runner

    async def within(self, timeout_s: float) -> T:
        """Awaits the work.

        Raises:
            Stuck: it did not end within `timeout_s`; a work that ignores its cancellation is left to its thread.
        """
        task = asyncio.ensure_future(in_thread(f"load {self._what}", self._run))
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({task, stopped}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done() and self._give_up():
            await asyncio.wait({task}, timeout=GRACE_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            why = "was given up" if self._stopped.is_set() else f"did not load within {timeout_s:g} s"
            raise Stuck(f"{self._what} {why}")
        try:
            return await task
        finally:
            del task  # it holds the error, whose traceback holds this frame

    def _give_up(self) -> bool:
        """Asks the work to end; False when it has ended just now."""
        with self._lock:
            if self._ended:
                return False
            self.cancel.set()
            runners = list(self._runners)
        for runner in runners:
            runner.stop()
        return True

    def _run(self) -> T:
        try:
            result = self._work(self)
            with self._lock:
                self._ended = not self.cancel.is_set()
            self._check()
        except BaseException:
            with suppress(Exception):  # why there is no version is what its caller asks
                close_all(self._runners)
            raise
        return result

    def _check(self) -> None:
        if self.cancel.is_set():
            raise Stuck(f"{self._what} was given up")
