"""One connection to a client: uvicorn's HTTP/1.1, deaf to offers of another protocol.

Java's HttpClient and `curl --http2` offer HTTP/2 with every first request (`Upgrade: h2c`); RFC 9110, 7.8 lets a server
ignore that and answer as it always does. uvicorn drops the body of such a request. Knows nothing of what is asked.
"""

from __future__ import annotations

import re
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.gateway.http.exchange import Exchange
from service.gateway.http.heads import BEGINNING, Heads, Scope

_END_OF_HEAD = b"\r\n\r\n"
_OFFER = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)
_NOT_TAKEN = b"\r\nx-offer"  # a name of the same length, that means nothing
_SMALL_BYTES = 64 << 10  # of a body that is held until it is whole


class Connection(HttpToolsProtocol):
    """uvicorn's connection, whose parser never hears of an upgrade where the head comes in one piece.

    Args:
        heads: those that are known.
        of_uvicorn: what uvicorn hands to its own.
    """

    def __init__(self, heads: Heads, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._heads = heads
        self._inside = False  # a message whose end has not come yet
        self._held = b""  # a known head whose body has not come yet
        self._exchange: Exchange | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._inside:
            if self._held:
                data = self._held + data
            if data.startswith(BEGINNING) and self._takes_whole(data):
                return
            end = data.find(_END_OF_HEAD)
            if _OFFER.search(data, 0, end + 1):
                data = _OFFER.sub(_NOT_TAKEN, data[:end]) + data[end:]
        super().data_received(data)

    def _takes_whole(self, data: bytes) -> bool:
        """Answers a small request that came whole past the parser, or waits once for the rest of its body."""
        held, self._held = self._held, b""
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn declares
        end = data.find(_END_OF_HEAD)
        head = self._heads.read(data[:end]) if end > 0 and (cycle is None or cycle.response_complete) else None
        if head is None or head.body_bytes > _SMALL_BYTES:
            return False
        begin = end + len(_END_OF_HEAD)
        missing_bytes = begin + head.body_bytes - len(data)
        if missing_bytes == 0:
            self._begin(head.scope, data[begin:])
        elif missing_bytes > 0 and not held:
            self._unset_keepalive_if_required()
            self._held = data
        else:
            return False
        return True

    def _begin(self, known: Scope, body: bytes) -> None:
        self._unset_keepalive_if_required()
        scope = known.copy()
        scope["server"], scope["client"], scope["scheme"] = self.server, self.client, self.scheme
        self._exchange = exchange = Exchange(self, scope, body)
        self.cycle = cast("Any", exchange)
        app: Any = self.app
        task = self.loop.create_task(app(scope, exchange.receive, exchange.send))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(exchange.ended)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()
            if self.cycle is cast("Any", exchange):
                self.cycle = cast("Any", None)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: a request that has begun is still answered."""
        if self._held:
            held, self._held = self._held, b""
            super().data_received(held)
        super().shutdown()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        self._inside = False
        super().on_message_complete()
