"""One operation on a model at a time: the running one ends undisturbed, one waits, and a newer one takes its place.

An operation that has begun is not undone by its caller going away. Knows nothing of what the operations do.
Owned by the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.core.errors import Conflict, RetortError

T = TypeVar("T")


@dataclass(slots=True)
class _Waiting:
    what: str
    turn: asyncio.Future[None]


@dataclass(slots=True)
class Operations:
    """The queue of one model, with room for one."""

    where: str
    _running: str | None = None
    _waiting: _Waiting | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def run(self, what: str, body: Callable[[], Awaitable[T]]) -> T:
        """Runs `body` when its turn comes.

        Args:
            what: names the operation in messages, such as "swap to '2'".
            body: the operation.

        Raises:
            Conflict: a newer operation took this one's place while it waited.
        """
        await self._turn(what)
        task: asyncio.Task[T] = asyncio.ensure_future(self._owned(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_unheard)
            raise
        finally:
            del task  # it holds the error, whose traceback holds this frame: no cycle may keep a version

    @property
    def running(self) -> str | None:
        """What runs now, None when idle."""
        return self._running

    async def idle(self) -> None:
        """Returns when nothing runs any more; used at shutdown."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _turn(self, what: str) -> None:
        if self._running is None:
            self._running = what
            return
        if self._waiting is not None and not self._waiting.turn.done():
            self._waiting.turn.set_exception(Conflict(f"{self._waiting.what} of {self.where} was superseded by {what}"))
        mine = _Waiting(what, asyncio.get_running_loop().create_future())
        self._waiting = mine
        try:
            await mine.turn
        except asyncio.CancelledError:
            if self._waiting is mine:
                self._waiting = None
            elif mine.turn.done() and not mine.turn.cancelled() and mine.turn.exception() is None:
                self._next()
            raise

    async def _owned(self, body: Callable[[], Awaitable[T]]) -> T:
        try:
            return await body()
        finally:
            self._next()

    def _next(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.turn.done():
            self._running = None
            return
        self._running = waiting.what
        waiting.turn.set_result(None)


def _unheard(task: asyncio.Task[Any]) -> None:
    """Its caller is gone: an error that was meant is noted where it arose, any other is a defect and for the log."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, RetortError):
        context = {"message": "an operation failed that nobody waits for", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
