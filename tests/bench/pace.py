"""A closed loop that tells how fast it goes, `python -m tests.bench.pace PORT CONNECTIONS SECONDS FILE`.

FILE holds a whole request. Batches answer many at once, so the rate is taken from when the last connection had its
first answer until the last answer: between two ends of runs. Prints JSON: answers and seconds between the two, and the
median wait in seconds.
"""

from __future__ import annotations

import asyncio
import json
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
        until_s: when it stops, on the clock of `time.monotonic`.
    """

    def __init__(self, request: bytes, until_s: float) -> None:
        self.answered: list[Answered] = []
        self.done = asyncio.get_running_loop().create_future()
        self._request = request
        self._until_s = until_s
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
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def on_message_complete(self) -> None:
        """An answer is whole."""
        if self._parser.get_status_code() != 200:
            self.done.set_exception(ValueError(f"the server answered {self._parser.get_status_code()}"))
            return
        now_s = time.monotonic()
        self.answered.append(Answered(now_s, now_s - self._asked_s))
        if now_s < self._until_s:
            self._ask()
        else:
            self.done.set_result(None)

    def _ask(self) -> None:
        self._asked_s = time.monotonic()
        self._transport.write(self._request)


def pace_of(clients: list[list[Answered]], until_s: float) -> dict[str, float]:
    """Of answers in turn, by connection; what came after `until_s` had fewer beside it and is left out.

    Raises:
        ValueError: no connection had a second answer in that time.
    """
    begin_s = max(answers[0].at_s for answers in clients)
    kept = [one for answers in clients for one in answers if begin_s < one.at_s <= until_s]
    if not kept:
        raise ValueError("the time was too short for a second answer")
    seconds = max(one.at_s for one in kept) - begin_s
    return {"answers": len(kept), "seconds": seconds, "wait_s": median(one.waited_s for one in kept)}


async def pace(port: int, connections: int, seconds: float, request: bytes) -> dict[str, float]:
    """Of `connections` for so long."""
    loop, until_s = asyncio.get_running_loop(), time.monotonic() + seconds
    made: list[Any] = [
        await loop.create_connection(lambda: Client(request, until_s), "127.0.0.1", port) for _ in range(connections)
    ]
    clients = [client for _, client in made]
    await asyncio.gather(*(client.done for client in clients))
    return pace_of([client.answered for client in clients], until_s)


if __name__ == "__main__":
    port, connections, seconds, file = sys.argv[1:]
    found = uvloop.run(pace(int(port), int(connections), float(seconds), Path(file).read_bytes()))
    print(json.dumps(found))  # noqa: T201
