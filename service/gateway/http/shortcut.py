"""The way past the parser: small inference requests of one connection that come whole, or as a head and then a body.

Whatever else comes is the parser's, in the bytes in which it came. Knows nothing of deadlines: whoever judges those
gives a head whose body is late to the parser.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from service.gateway.http.exchange import Exchange, Line
from service.gateway.http.heads import BEGINNING, Heads, Scope
from service.gateway.http.offers import END_OF_HEAD

_SMALL_BYTES = 64 << 10  # of a body that is waited for


class Road(Line, Protocol):
    """The connection, as uvicorn has it."""

    app: Any
    client: tuple[str, int] | None
    cycle: Any
    loop: asyncio.AbstractEventLoop
    scheme: Any
    server: tuple[str, int | None] | None


class Shortcut:
    """Of one connection, whose bytes it sees between two messages.

    Args:
        road: the connection.
        heads: those that are known.
    """

    __slots__ = ("_exchange", "_heads", "_held", "_old", "_road")

    def __init__(self, road: Road, heads: Heads) -> None:
        self._road = road
        self._heads = heads
        self._held = self._old = b""
        self._exchange: Exchange | None = None

    def take(self, data: bytes) -> bytes:
        """Begins to answer the request that `data` is, or holds its head once; what is left is for the parser."""
        held, self._held = self._held, b""
        if held:
            data = held + data
        if not data.startswith(BEGINNING):
            return data
        cycle, end = self._road.cycle, data.find(END_OF_HEAD)
        head = self._heads.read(data[:end]) if end > 0 and (cycle is None or cycle.response_complete) else None
        if head is None or head.body_bytes > _SMALL_BYTES:
            return data
        begin = end + len(END_OF_HEAD)
        missing_bytes = begin + head.body_bytes - len(data)
        if missing_bytes == 0:
            self._begin(head.scope, data[begin:])
        elif missing_bytes > 0 and not held:
            self._held = data
        else:
            return data
        return b""

    @property
    def used(self) -> bool:
        """Whether a request went this way."""
        return self._exchange is not None

    def give_back(self) -> bytes:
        """What is held, for the parser; b"" for nothing."""
        held, self._held = self._held, b""
        return held

    def give_back_old(self) -> bytes:
        """The same, but what came since the last call stays for once."""
        old, self._old = self._old, self._held
        return self.give_back() if old and old is self._held else b""

    def leave(self) -> None:
        """Nobody is at the other end any more."""
        if self._exchange is not None:
            self._exchange.leave()
            if self._road.cycle is self._exchange:
                self._road.cycle = None

    def _begin(self, known: Scope, body: bytes) -> None:
        road, scope = self._road, known.copy()
        scope["server"], scope["client"], scope["scheme"] = road.server, road.client, road.scheme
        road.cycle = self._exchange = exchange = Exchange(road, scope, body)
        task = road.loop.create_task(road.app(scope, exchange.receive, exchange.send))
        road.tasks.add(task)
        task.add_done_callback(exchange.ended)
