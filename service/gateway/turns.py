"""How much of a turn of the event loop new requests may take: some milliseconds; the rest come next turn.

A loop that reads from hundreds of sockets in one turn would begin all of their requests before it comes to anything
else: an engine that is done would wait for its next batch, and a health check for its answer. Inference has one share
for all transports of a process, other requests have one of their own. Knows nothing of what the requests are.
"""

from __future__ import annotations

import asyncio
from collections import deque

from service.core.clock import Clock

SHARE_S = 0.003  # of a turn: some twenty JSON requests, or twice as many refusals
TOGETHER = 16  # of those that wait, a turn


class Turns:
    """The requests that wait for a turn; used on one event loop.

    Args:
        clock: monotonic seconds.
        share_s: of a turn.
    """

    def __init__(self, clock: Clock, share_s: float = SHARE_S) -> None:
        self._clock = clock
        self._share_s = share_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ends_s = 0.0  # when the share of this turn is used up
        self._turning = False

    def now_s(self) -> float:
        """On the clock of the turns."""
        return self._clock.now_s()

    def take(self) -> asyncio.Future[None] | None:
        """None where there is time for another request now; else what to wait for, those that came first first."""
        now_s = self._clock.now_s()
        if not self._turning:
            loop = asyncio.get_running_loop()
            self._turning = True
            self._ends_s = now_s + self._share_s
            loop.call_soon(self._next, loop)
        if now_s < self._ends_s and not self._waiting:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turning = bool(self._waiting)
        if not self._turning:
            return
        for _ in range(min(TOGETHER, len(self._waiting))):
            future = self._waiting.popleft()
            if not future.done():  # its caller may have gone
                future.set_result(None)
        loop.call_soon(self._next, loop)
