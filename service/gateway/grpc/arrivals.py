"""Messages on their way: each has a time to be whole, and no more of them may be slow than the budget has room for.

grpc.aio would wait for a message for ever, and says nothing of how much of it has come. So time alone tells: what is
not whole after a second is slow, and counts as the largest message there may be. Knows nothing of what a message says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from service.core.errors import BadInput, Rejected, RetortError, TooSlow
from service.gateway.budget import ByteBudget
from service.gateway.grpc.readable import check_readable

LEAST_S = 10.0
BYTES_PER_S = 1 << 20  # of the largest message: 64 s for one of 64 MiB
SLOW_S = 1.0
SLOW_AT_LEAST, SLOW_AT_MOST = 8, 1024  # a quarter of the calls that there may be
LOOK_S = 0.25
_CANCEL_S = 0.01  # a client that leaves ends its message first, and its call a moment later


async def messages_of(context: Any) -> AsyncIterator[Any]:
    """The messages of a stream; gRPC's own iterator keeps the last one, however long the stream rests."""
    while True:
        read = [await context.read()]
        if read[0] is grpc.aio.EOF:
            return
        yield read.pop()


class Arrivals:
    """The messages that calls wait for; used on one event loop.

    Args:
        budget: of the bytes in flight.
        message_limit_bytes: of one.
    """

    def __init__(self, budget: ByteBudget, message_limit_bytes: int = 64 << 20) -> None:
        self._limit_s = max(LEAST_S, message_limit_bytes / BYTES_PER_S)
        self._slow_limit = min(SLOW_AT_MOST, max(SLOW_AT_LEAST, budget.limit_bytes // message_limit_bytes))
        self._began_s: dict[asyncio.Task[Any], float] = {}  # the oldest first
        self._ended: dict[asyncio.Task[Any], RetortError] = {}
        self._now_s = 0.0
        self._looked_s = 0.0
        self._looking = False

    async def message(self, context: Any) -> Any:
        """The one message of a call.

        Raises:
            TooSlow: it is not whole in its time.
            Rejected: it is slow, and too many others are.
            BadInput: it cannot be read, or the call ended without any.
        """
        task: Any = asyncio.current_task()
        self._began_s[task] = self._now_s
        if not self._looking:
            self._begin_to_look()
        try:
            message = await context.read()
        except asyncio.CancelledError:
            error = self._ended.pop(task, None)
            if error is None or task.uncancel():  # its client left
                raise
            raise error from None
        finally:
            del self._began_s[task]
        if message is grpc.aio.EOF:
            await asyncio.sleep(_CANCEL_S)
            raise BadInput("the call ended before its message came")
        check_readable(message)
        return message

    def _begin_to_look(self) -> None:
        loop = asyncio.get_running_loop()
        self._looking = True
        self._looked_s = loop.time()
        loop.call_later(LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = bool(self._began_s)
        if not self._looking:
            return
        now_s = loop.time()
        # A loop that was held up has not read what came meanwhile: time that it did not see is nobody's fault.
        self._now_s += min(now_s - self._looked_s, 2 * LOOK_S)
        self._looked_s = now_s
        loop.call_later(LOOK_S, self._look, loop)
        for place, (task, began_s) in enumerate(self._began_s.items()):
            if self._now_s - began_s < SLOW_S:
                return
            if self._now_s - began_s >= self._limit_s:
                self._end(task, TooSlow(f"the message did not come in {self._limit_s:.0f} s"))
            elif place >= self._slow_limit:
                self._end(task, Rejected(f"{self._slow_limit} messages that come slowly are on their way already"))

    def _end(self, task: asyncio.Task[Any], error: RetortError) -> None:
        if task not in self._ended:
            self._ended[task] = error
            task.cancel()
