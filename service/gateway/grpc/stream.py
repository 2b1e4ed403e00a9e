"""One stream of inference requests: several at once, each answered when it is done, in bounded number.

A request that fails is answered by its sentence, and the stream goes on. Those of one sequence are begun and answered
in their order. A stream that its client leaves cancels what it still waits for; one that outlives the server's serving
is read no more and ends when what was read is answered. Knows nothing of how a request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from functools import partial
from typing import Any

from service.core.errors import Draining

IN_FLIGHT_LIMIT = 256  # requests that were read and whose answers were not taken yet
IN_FLIGHT_LIMIT_BYTES = 64 << 20  # of those requests and answers; one alone may be larger

_END = None

Turn = Callable[[Any], Hashable | None]
Size = Callable[[Any], int]
Arrive = Callable[[Any], Any]


async def answers_to(
    requests: AsyncIterator[Any],
    answer: Callable[[Any], Awaitable[Any]],
    limit: int = IN_FLIGHT_LIMIT,
    *,
    turn: Turn = lambda _: None,
    size_bytes: Size = lambda _: 0,
    arrive: Arrive = lambda request: request,
    stopping: asyncio.Event | None = None,
) -> AsyncGenerator[Any, None]:
    """Yields the answer of each request, in the order in which they are there.

    Args:
        requests: of the stream; no more are read while those whose answers were not taken yet are at a limit.
        answer: of one request, as `arrive` has it; begun in the order of the requests; does not raise.
        limit: requests in flight.
        turn: what requests have in common that are to be answered one after the other; None for those that need not.
        size_bytes: of a request or an answer; in flight they have `IN_FLIGHT_LIMIT_BYTES`, so that a client which takes
            no answers holds no more of the server's memory.
        arrive: what a request is kept as until it is answered, from when it is read; does not raise.
        stopping: set when the server stops; None where it never does.

    Raises:
        Draining: the server stops, and whatever was read is answered.
    """
    stream = _Stream(answer, _Room(limit, IN_FLIGHT_LIMIT_BYTES), turn, size_bytes, arrive)
    reader = asyncio.create_task(stream.read(requests, stopping or asyncio.Event()), name="stream reader")
    try:
        while (item := await stream.done.get()) is not _END:
            yield item
            stream.room.leave(size_bytes(item))
            del item
        await reader  # raises what ended the reading, if anything did
    finally:
        left = (reader, *stream.tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Room:
    """What may be in flight at once; one task enters."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._left = limit
        self._left_bytes = self._all_bytes = limit_bytes
        self._freed = asyncio.Event()

    async def enter(self, size_bytes: int) -> None:
        """Returns when there is room; what is larger than all of it waits until it is alone."""
        while self._left < 1 or min(size_bytes, self._all_bytes) > self._left_bytes:
            self._freed.clear()
            await self._freed.wait()
        self._left -= 1
        self._left_bytes -= size_bytes

    def turn_into(self, size_bytes: int, of_bytes: int) -> None:
        """What took `of_bytes` takes `size_bytes` from now on."""
        self._left_bytes += of_bytes - size_bytes
        self._freed.set()

    def leave(self, size_bytes: int) -> None:
        """Makes room."""
        self._left += 1
        self._left_bytes += size_bytes
        self._freed.set()


class _Stream:
    """The requests of one stream that are in flight."""

    def __init__(
        self, answer: Callable[[Any], Awaitable[Any]], room: _Room, turn: Turn, size_bytes: Size, arrive: Arrive
    ) -> None:
        self.room = room
        self._size_bytes = size_bytes
        self.done: asyncio.Queue[Any] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self._answer = answer
        self._turn = turn
        self._arrive = arrive
        self._last: dict[Hashable, asyncio.Task[None]] = {}

    async def read(self, requests: AsyncIterator[Any], stopping: asyncio.Event) -> None:
        """Begins every request until there are no more or the server stops, and waits for what was begun."""
        taking = asyncio.create_task(self._take(requests), name="stream requests")
        stop = asyncio.create_task(stopping.wait(), name="stream stop")
        try:
            await asyncio.wait({taking, stop}, return_when=asyncio.FIRST_COMPLETED)
            stopped = taking.cancel()  # False where it is done
            await asyncio.gather(taking, return_exceptions=True)
            await asyncio.gather(*self.tasks)
            if not stopped:
                taking.result()  # raises what ended the reading, now that what was read is answered
        finally:
            taking.cancel()
            stop.cancel()
            self.done.put_nowait(_END)
        if stopped:
            raise Draining("the server is shutting down and reads no more from this stream")

    async def _take(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            turn, size_bytes = self._turn(request), self._size_bytes(request)
            await self.room.enter(size_bytes)
            before = None if turn is None else self._last.get(turn)
            task = asyncio.create_task(self._one(self._arrive(request), size_bytes, before), name="stream request")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            if turn is not None:
                self._last[turn] = task
                task.add_done_callback(partial(self._forget, turn))
            del request, task, before  # while it waits for another: one may be as large as a message

    def _forget(self, turn: Hashable, ended: asyncio.Task[None]) -> None:
        if self._last.get(turn) is ended:
            del self._last[turn]

    async def _one(self, arrived: Any, size_bytes: int, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        answer = await self._answer(arrived)
        self.room.turn_into(self._size_bytes(answer), size_bytes)
        self.done.put_nowait(answer)
