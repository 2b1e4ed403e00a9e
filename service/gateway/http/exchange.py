"""A request that came whole, and its answer: what uvicorn's cycle is to every other request.

ASGI as the application knows it: the body is there from the beginning, a small answer is one write, and whoever works
for a client hears at once that it left. Stands where the connection expects a cycle. Knows nothing of inference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.gateway.guard import BODY, WATCH, Watch

WHOLE = "retort.whole"  # key of a scope: the `Exchange` that takes an answer in one piece
Headers = Sequence[tuple[bytes, bytes]]

_START = "http.response.start"


class Line(Protocol):
    """The connection as its exchange sees it."""

    flow: Any
    logger: logging.Logger
    transport: asyncio.Transport
    server_state: Any
    tasks: set[Any]

    def end(self) -> None:
        """Ends behind an answer."""

    def on_response_complete(self) -> None:
        """The answer is written."""


class Exchange(Watch):
    """One request of a connection, and the watch over its client.

    Args:
        line: the connection.
        scope: of the request, its own.
        body: all of it.

    Attributes:
        keep_alive: whether the connection goes on behind the answer.
        response_complete: whether the answer is written.
    """

    __slots__ = ("_body", "_disconnected", "_gone", "_head", "_line", "_scope", "keep_alive", "response_complete")

    def __init__(self, line: Line, scope: Scope, body: bytes) -> None:
        super().__init__()
        self._line = line
        self._body: bytes | None = body
        self._head: Message | None = None
        self._gone: asyncio.Event | None = None
        self._disconnected = False
        self._scope = scope
        self.keep_alive = True
        self.response_complete = False
        scope[WATCH] = scope[WHOLE] = self
        scope[BODY] = body

    def __enter__(self) -> None:
        super().__enter__()
        if self._disconnected:
            super().leave()

    def ended(self, task: asyncio.Task[None]) -> None:
        """The application has ended; where it gave no answer the connection ends."""
        self._line.tasks.discard(task)
        self._scope.clear()  # it holds this exchange, which holds it
        self._body = None  # a connection that rests keeps its last exchange
        if not task.cancelled() and (error := task.exception()) is not None:
            self._line.logger.error("an application failed", exc_info=error)
        if not self.response_complete and not self._disconnected:
            self._line.transport.close()

    async def receive(self) -> Message:
        """The body, then nothing until the client is gone or answered."""
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        if not self._disconnected and not self.response_complete:
            self._gone = asyncio.Event()
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Takes the head of the answer, and writes it with the first part of its body."""
        if message["type"] == _START:
            self._head = message
            return
        if self._line.flow.write_paused and not self._disconnected:
            await self._line.flow.drain()
        body = message.get("body", b"")
        if self._head is not None:
            head, self._head = self._head, None
            body = self._written(head["status"], head["headers"], body)
        self._write(body, more=message.get("more_body", False))

    @property
    def ready(self) -> bool:
        """Whether an answer can be written now, without waiting for the client to take those before it."""
        return not self._line.flow.write_paused

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Writes the whole answer at once."""
        self._write(self._written(status, headers, body), more=False)

    def _written(self, status: int, headers: Headers, body: bytes) -> bytes:
        """The head and what follows it; no header's value is a client's but those that the parser let through."""
        parts = [STATUS_LINE[status]]
        for name, value in self._line.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", body)
        return b"".join(parts)

    def _write(self, data: bytes, *, more: bool) -> None:
        """Writes nothing to a client that left."""
        if self._disconnected or self.response_complete:
            return
        line = self._line
        self.response_complete = not more
        line.transport.write(data)
        if not more:
            if not self.keep_alive:
                line.end()
            line.on_response_complete()

    def leave(self) -> None:
        """The client is gone, or the connection is."""
        if self.response_complete:
            return
        self._disconnected = True
        if self._gone is not None:
            self._gone.set()
        super().leave()
