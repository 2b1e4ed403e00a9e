"""When batches are formed: at once for one who comes alone, else once the turns of the loop bring nobody more.

A run on the loop costs about as much for one request as for sixteen, and nobody is read while it lasts: after one such
the next waits as long as each turn brings somebody, a millisecond at most. An engine's own thread waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.batching.alarm import Alarm
from service.batching.lone import Lone
from service.batching.run import Run
from service.core.clock import Clock

GATHER_S = 0.001


class Moment(Alarm):
    """The judge of when, for one batcher.

    Args:
        loop: whose turns count.
        clock: monotonic seconds.
        most_rows: of a batch; more are not gathered.
        waiting: the rows that wait for an engine that is idle; 0 where none is.
        form: forms what batches there are; called with the time in seconds.
        guard: wraps what the event loop calls back, so that it does not fail unheard.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        most_rows: int,
        *,
        waiting: Callable[[], int],
        form: Callable[[float], None],
        guard: Callable[[Callable[[float], None]], Callable[[float], None]],
    ) -> None:
        super().__init__(loop, clock, guard(self._turn))
        self._lone = Lone(loop)
        self._most_rows = most_rows
        self._waiting = waiting
        self._form = guard(form)
        self._gathered = 0  # rows, in the turns before this one
        self._ends_s = 0.0
        self._on_loop = False  # the last run

    def came(self, now_s: float, *, first: bool) -> None:
        """Somebody came; `first` where nobody waited and an engine is idle."""
        if first and self._lone.take():
            self._form(now_s)
        else:
            self.soon()

    def learn(self, run: Run, *, done: bool) -> None:
        """Notes how many ran together, and whether that was done on the loop."""
        self._on_loop = done
        self._lone.learn(run, done=done)

    def _turn(self, now_s: float) -> None:
        if self._goes_on(self._waiting(), now_s):
            self.soon()
        else:
            self._form(now_s)

    def _goes_on(self, rows: int, now_s: float) -> bool:
        """Whether to look again in the next turn, since this one brought somebody for a quick run."""
        if not self._gathered:
            self._ends_s = now_s + GATHER_S
        more = self._gathered < rows < self._most_rows and now_s < self._ends_s and self._on_loop
        self._gathered = rows if more else 0
        return more
