"""A closed loop, `python -m tests.bench.load PORT CONNECTIONS SECONDS FORM`: each connection asks when it was answered.

Prints the number of answers. Quick enough for the shares of a core that are measured here; a loop says nothing of waits
under an offered load, which is what `retort compare` is for.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import httptools
import uvloop

from tests.bench.tiny import requests

_PATIENCE_S = 30.0


class Client(asyncio.Protocol):
    """One connection.

    Args:
        request: what it sends, again and again.
        until_s: when it stops, on the clock of `time.monotonic`.
    """

    def __init__(self, request: bytes, until_s: float) -> None:
        self.answers = 0
        self.done = asyncio.get_running_loop().create_future()
        self._request = request
        self._until_s = until_s
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks first."""
        self._transport: Any = transport
        self._transport.write(self._request)

    def close(self) -> None:
        """Asks no more."""
        self._transport.abort()
        if not self.done.cancel() and not self.done.cancelled():
            self.done.exception()  # the first of all of them is told

    def data_received(self, data: bytes) -> None:
        """Some of an answer came."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone, or it was over."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def on_message_complete(self) -> None:
        """An answer is whole."""
        if self._parser.get_status_code() != 200:
            self.done.set_exception(ValueError(f"the server answered {self._parser.get_status_code()}"))
            return
        self.answers += 1
        if time.monotonic() < self._until_s:
            self._transport.write(self._request)
        elif not self.done.done():
            self.done.set_result(None)


async def load(port: int, connections: int, seconds: float, form: str) -> int:
    """How many answers `connections` get in that time."""
    loop, until_s, request = asyncio.get_running_loop(), time.monotonic() + seconds, requests()[form]
    made = [
        await loop.create_connection(lambda: Client(request, until_s), "127.0.0.1", port) for _ in range(connections)
    ]
    clients = [client for _, client in made]
    await asyncio.gather(*(client.done for client in clients))
    return sum(client.answers for client in clients)


if __name__ == "__main__":
    port, connections, seconds, form = sys.argv[1:]
    print(uvloop.run(load(int(port), int(connections), float(seconds), form)))  # noqa: T201
