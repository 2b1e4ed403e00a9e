"""Lets calls that come in together go on together, so that they can share a batch.

grpc.aio hands out one call in a few turns of the event loop, where HTTP hands out all that came: without this, each
would find the engine idle and be run alone. Whoever comes waits while others still come, for turns of the loop and no
timer. Knows nothing of what the calls are.
"""

from __future__ import annotations

import asyncio

from service.core.clock import Clock

QUIET_TURNS = 8  # of the event loop without a newcomer, after which nobody is waited for; a lone call's are empty
GATHERED_LIMIT = 64
WAIT_LIMIT_S = 0.003  # of the first, where other work makes turns long or newcomers do not end


class Gathering:
    """The calls that wait for one another; made and used on one event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._quiet_turns = 0
        self._began_s = 0.0

    async def join(self) -> None:
        """Returns when nobody else comes any more, to those that came first first."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        self._quiet_turns = 0
        if len(self._waiting) == 1:
            self._began_s = self._clock.now_s()
            self._loop.call_soon(self._look)
        await future

    def _look(self) -> None:
        self._quiet_turns += 1
        late = self._clock.now_s() - self._began_s >= WAIT_LIMIT_S
        if self._quiet_turns <= QUIET_TURNS and len(self._waiting) < GATHERED_LIMIT and not late:
            self._loop.call_soon(self._look)
            return
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():  # its caller may have gone
                future.set_result(None)
