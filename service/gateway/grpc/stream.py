"""One stream of inference requests: several at once, each answered when it is done, in bounded number.

A request that fails is answered by its sentence, and the stream goes on. A stream that its client leaves cancels what
it still waits for. Knows nothing of how a request is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

IN_FLIGHT_LIMIT = 256  # requests that were read and whose answers were not taken yet

_END = None


async def answers_to(
    requests: AsyncIterator[Any], answer: Callable[[Any], Awaitable[Any]], limit: int = IN_FLIGHT_LIMIT
) -> AsyncIterator[Any]:
    """Yields the answer of each request, in the order in which they are there.

    Args:
        requests: of the stream; no more are read while `limit` of them wait for their answers to be taken.
        answer: of one request; begun in the order of the requests; does not raise.
        limit: requests in flight.
    """
    slots = asyncio.Semaphore(limit)
    done: asyncio.Queue[Any] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def one(request: Any) -> None:
        done.put_nowait(await answer(request))

    async def read() -> None:
        try:
            async for request in requests:
                await slots.acquire()
                task = asyncio.create_task(one(request), name="stream request")
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            done.put_nowait(_END)

    reader = asyncio.create_task(read(), name="stream reader")
    try:
        while (item := await done.get()) is not _END:
            yield item
            slots.release()
        await reader  # raises what ended the reading, if anything did
    finally:
        for task in (reader, *tasks):
            task.cancel()
        await asyncio.gather(reader, *tasks, return_exceptions=True)
