"""Runs callbacks of the event loop so that none of them fails unheard, and counts: a crash loop is given up.

The callback's counterpart of `core.supervise.Supervisor`. Knows nothing of what the callbacks do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from service.core.clock import Clock
from service.core.supervise import CrashWindow

P = ParamSpec("P")


class Guard:
    """Watches over the callbacks of one owner.

    Args:
        clock: monotonic seconds.
        restart_after_s: pause between a crash and `on_restart`.
        on_crash: called with the error at once; must not raise.
        on_restart: called when the owner may go on; a crash inside is one more crash.
        on_give_up: called after the third crash within a minute, in place of a restart.

    Attributes:
        up: False before the start, from a crash to the restart, and after giving up.
    """

    def __init__(
        self,
        clock: Clock,
        restart_after_s: float,
        *,
        on_crash: Callable[[Exception], None],
        on_restart: Callable[[], None],
        on_give_up: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._restart_after_s = restart_after_s
        self._on_crash = on_crash
        self._on_restart = on_restart
        self._on_give_up = on_give_up
        self._loop = asyncio.get_running_loop()
        self._crashes = CrashWindow()
        self._restart = self.wrap(self.start)
        self.up = False

    def start(self) -> None:
        """Opens for work."""
        self.up = True
        self._on_restart()

    def wrap(self, step: Callable[P, None]) -> Callable[P, None]:
        """The same step, but what it raises is a crash of its owner."""

        @wraps(step)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                step(*args, **kwargs)
            except Exception as error:
                self._crash(error)

        return guarded

    def _crash(self, error: Exception) -> None:
        self.up = False
        self._on_crash(error)
        if self._crashes.record(self._clock.now_s()):
            self._loop.call_later(self._restart_after_s, self._restart)
        else:
            self._on_give_up()
