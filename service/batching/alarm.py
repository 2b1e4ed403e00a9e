"""One timer for many points in time: it rings at the earliest that was asked for, and costs nothing per point.

The next iteration of the loop is such a point too, and needs no timer.

Whoever is rung finds out himself what is due, and asks for the next point.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from service.core.clock import Clock

_EARLY_S = 0.001  # event loops round their timers, some of them down to the millisecond


class Alarm:
    """Rings on the event loop's thread.

    Args:
        loop: what keeps the timer.
        clock: what the points in time refer to.
        ring: called with the time in seconds, never earlier than the point that was asked for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, ring: Callable[[float], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._ring = ring
        self._at_s = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._is_soon = False

    def soon(self) -> None:
        """Rings once the callbacks of this iteration of the loop are through, whatever else was asked for."""
        if not self._is_soon:
            self._is_soon = True
            self._loop.call_soon(self._ring_now)

    def at(self, at_s: float) -> None:
        """Rings at `at_s` or before; `inf` asks for nothing."""
        if at_s < self._at_s:
            self.cancel()
            self._at_s = at_s
            self._handle = self._loop.call_later(max(0.0, at_s - self._clock.now_s()), self._due)

    def cancel(self) -> None:
        """Forgets every point asked for, but `soon`."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None
        self._at_s = math.inf

    def _ring_now(self) -> None:
        self._is_soon = False
        self._ring(self._clock.now_s())

    def _due(self) -> None:
        at_s, now_s = self._at_s, self._clock.now_s()
        self._handle = None
        self._at_s = math.inf
        if now_s < at_s - _EARLY_S:
            self.at(at_s)
        else:
            self._ring(max(now_s, at_s))
