"""Keeps background work alive: counts crashes in a window, restarts a task that ended, gives up on a crash loop.

Knows nothing of what it runs. Whoever owns the work says what a crash costs (`on_crash`: fail the tickets, turn
readiness off) and what giving up means (`on_give_up`: end the process).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from service.core.clock import Clock


@dataclass(slots=True)
class CrashWindow:
    """Counts crashes in the last `window_s` seconds; more than `allowed` of them are a crash loop."""

    allowed: int = 2
    window_s: float = 60.0
    _times_s: deque[float] = field(default_factory=deque)

    def record(self, now_s: float) -> bool:
        """Counts one crash at `now_s`; True while a restart is still reasonable."""
        self._times_s.append(now_s)
        while self._times_s and now_s - self._times_s[0] > self.window_s:
            self._times_s.popleft()
        return len(self._times_s) <= self.allowed


class Supervisor:
    """Runs one coroutine function for ever, on the event loop that called `start`.

    Args:
        name: names the task, for logs and `asyncio` dumps.
        body: started again each time it raises; one that returns is finished.
        clock: monotonic seconds.
        on_crash: called with the error, before the restart; must not raise.
        on_give_up: called with the last error when the window is full; the body is not started again.
        restart_after_s: pause before a restart, so that a crash loop does not spin.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], Awaitable[None]],
        *,
        clock: Clock,
        on_crash: Callable[[Exception], None],
        on_give_up: Callable[[Exception], None],
        window: CrashWindow | None = None,
        restart_after_s: float = 0.1,
    ) -> None:
        self._name = name
        self._body = body
        self._clock = clock
        self._on_crash = on_crash
        self._on_give_up = on_give_up
        self._window = window or CrashWindow()
        self._restart_after_s = restart_after_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the body; must be called on a running event loop, once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """Cancels the body and waits until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while (error := await self._crash()) is not None:
            self._on_crash(error)
            if not self._window.record(self._clock.now_s()):
                self._on_give_up(error)
                return
            del error  # its traceback holds what the body held, and the next one may run for ever
            await asyncio.sleep(self._restart_after_s)

    async def _crash(self) -> Exception | None:
        """Runs the body: what it crashed with; None where it is finished."""
        try:
            await self._body()
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # by `stop`
                raise
            # What the body waited for was cancelled, not the body: unless that counts, nobody hears that it has ended.
            lost = RuntimeError("what it waited for was cancelled")
            lost.__cause__ = cancelled
            return lost
        except Exception as error:
            return error
        return None
