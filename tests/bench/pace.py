"""A closed loop that tells how fast it goes, `python -m tests.bench.pace PORT CONNECTIONS SECONDS FILE`.

FILE holds a whole request. Batches answer many at once, so the rate is taken from when the last connection had its
first answer until the last answer: between two ends of runs. Prints JSON: answers and seconds between the two, and the
median wait in seconds.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httptools
import uvloop


class Answered(NamedTuple):
    """When, and after how long."""

    at_s: float
    waited_s: float


class Client(asyncio.Protocol):
    """One connection, which asks again when it was answered, and notes it.

    Args:
        request: what it sends.

    Attributes:
        begun: whether it had an answer.
        until_s: when it stops, on the clock of `time.monotonic`.
    """

    def __init__(self, request: bytes) -> None:
        self.answered: list[Answered] = []
        self.begun, self.done = (asyncio.get_running_loop().create_future() for _ in range(2))
        self.until_s = math.inf
        self._request = request
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks first."""
        self._transport: Any = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Some of an answer came."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone, or it was over."""
        self._fail(exc or ConnectionError("the server closed the connection"))

    def on_message_complete(self) -> None:
        """An answer is whole."""
        if self._parser.get_status_code() != 200:
            self._fail(ValueError(f"the server answered {self._parser.get_status_code()}"))
            return
        now_s = time.monotonic()
        self.answered.append(Answered(now_s, now_s - self._asked_s))
        if not self.begun.done():
            self.begun.set_result(None)
        if now_s < self.until_s:
            self._ask()
        else:
            self.done.set_result(None)

    def _fail(self, error: Exception) -> None:
        for future in (self.begun, self.done):
            if not future.done():
                future.set_exception(error)

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        self._transport.write(self._request)


def pace_of(clients: list[list[Answered]], until_s: float) -> dict[str, float]:
    """Of answers in turn, by connection; what came after `until_s` had fewer beside it, and counts only by itself."""
    begin_s = max(answers[0].at_s for answers in clients)
    later = [one for answers in clients for one in answers if begin_s < one.at_s]
    kept = [one for one in later if one.at_s <= until_s] or later
    seconds = max(one.at_s for one in kept) - begin_s
    return {"answers": len(kept), "seconds": seconds, "wait_s": median(one.waited_s for one in kept)}


async def pace(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    """Of `connections` for so long, once each had an answer."""
    loop = asyncio.get_running_loop()
    made: list[Any] = [
        await loop.create_connection(lambda: Client(request), "127.0.0.1", port) for _ in range(connections)
    ]
    clients = [client for _, client in made]
    await asyncio.gather(*(client.begun for client in clients))
    until_s = time.monotonic() + seconds
    for client in clients:
        client.until_s = until_s
    await asyncio.gather(*(client.done for client in clients))
    return pace_of([client.answered for client in clients], until_s)


if __name__ == "__main__":
    port, connections, seconds, file = sys.argv[1:]
    found = uvloop.run(pace(int(port), int(connections), float(seconds), Path(file).read_bytes()))
    print(json.dumps(found))  # noqa: T201
