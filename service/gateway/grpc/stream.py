"""One stream of inference requests: several at once, each answered when it is done, in bounded number.

A request that fails is answered by its sentence, and the stream goes on. Those of one sequence are begun and answered
in their order. A stream that its client leaves cancels what it still waits for; one that outlives the server's serving
is read no more and ends when what was read is answered. Knows nothing of how a request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from functools import partial
from typing import Any

from service.core.errors import Draining

IN_FLIGHT_LIMIT = 256  # requests that were read and whose answers were not taken yet

_END = None

Turn = Callable[[Any], Hashable | None]


async def answers_to(
    requests: AsyncIterator[Any],
    answer: Callable[[Any], Awaitable[Any]],
    limit: int = IN_FLIGHT_LIMIT,
    *,
    turn: Turn = lambda _: None,
    stopping: asyncio.Event | None = None,
) -> AsyncIterator[Any]:
    """Yields the answer of each request, in the order in which they are there.

    Args:
        requests: of the stream; no more are read while `limit` of them wait for their answers to be taken.
        answer: of one request; begun in the order of the requests; does not raise.
        limit: requests in flight.
        turn: what requests have in common that are to be answered one after the other; None for those that need not.
        stopping: set when the server stops; None where it never does.

    Raises:
        Draining: the server stops, and whatever was read is answered.
    """
    stream = _Stream(answer, limit, turn)
    reader = asyncio.create_task(stream.read(requests, stopping or asyncio.Event()), name="stream reader")
    try:
        while (item := await stream.done.get()) is not _END:
            yield item
            stream.slots.release()
        await reader  # raises what ended the reading, if anything did
    finally:
        left = (reader, *stream.tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Stream:
    """The requests of one stream that are in flight."""

    def __init__(self, answer: Callable[[Any], Awaitable[Any]], limit: int, turn: Turn) -> None:
        self.slots = asyncio.Semaphore(limit)
        self.done: asyncio.Queue[Any] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self._answer = answer
        self._turn = turn
        self._last: dict[Hashable, asyncio.Task[None]] = {}

    async def read(self, requests: AsyncIterator[Any], stopping: asyncio.Event) -> None:
        """Begins every request until there are no more or the server stops, and waits for what was begun."""
        taking = asyncio.create_task(self._take(requests), name="stream requests")
        stop = asyncio.create_task(stopping.wait(), name="stream stop")
        try:
            await asyncio.wait({taking, stop}, return_when=asyncio.FIRST_COMPLETED)
            stopped = taking.cancel()  # False where it is done
            if not stopped:
                taking.result()
            await asyncio.gather(taking, return_exceptions=True)
            await asyncio.gather(*self.tasks)
        finally:
            taking.cancel()
            stop.cancel()
            self.done.put_nowait(_END)
        if stopped:
            raise Draining("the server is shutting down and reads no more from this stream")

    async def _take(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            await self.slots.acquire()
            turn = self._turn(request)
            before = None if turn is None else self._last.get(turn)
            task = asyncio.create_task(self._one(request, before), name="stream request")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            if turn is not None:
                self._last[turn] = task
                task.add_done_callback(partial(self._forget, turn))

    def _forget(self, turn: Hashable, ended: asyncio.Task[None]) -> None:
        if self._last.get(turn) is ended:
            del self._last[turn]

    async def _one(self, request: Any, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self.done.put_nowait(await self._answer(request))
