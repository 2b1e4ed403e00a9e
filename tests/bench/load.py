"""A closed loop, `python -m tests.bench.load PORT CONNECTIONS SECONDS FORM`: each connection asks when it was answered.

Prints that all are connected, waits for a line, and prints the number of answers. Quick enough for the shares of a core
that are measured here; a loop says nothing of waits under an offered load, which is what `retort compare` is for.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import httptools
import uvloop

from tests.bench.tiny import name_of, requests

_PATIENCE_S = 30.0


class Client(asyncio.Protocol):
    """One connection.

    Args:
        requests: what it sends in turn, again and again.
    """

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.answers = 0
        self._requests = requests
        self._until_s = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks once, so that the server knows it."""
        self._transport: Any = transport
        self.ask(0.0)

    def ask(self, until_s: float) -> None:
        """Asks until then, on the clock of `time.monotonic`, and once at least; `done` tells when."""
        self.done = asyncio.get_running_loop().create_future()
        self._until_s = until_s
        self._transport.write(next(self._requests))

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
            self._transport.write(next(self._requests))
        elif not self.done.done():
            self.done.set_result(None)


async def load(port: int, connections: int, seconds: float, models: list[bytes], idle: int) -> int:
    """How many answers `connections` get in that time, while `idle` others rest."""
    loop = asyncio.get_running_loop()
    made = []
    for number in range(connections + idle):
        asked = cycle(models[number % len(models) :] + models[: number % len(models)])
        made.append((await loop.create_connection(lambda asked=asked: Client(asked), "127.0.0.1", port))[1])
    await asyncio.gather(*(client.done for client in made))
    print("ready", flush=True)  # noqa: T201
    await loop.run_in_executor(None, sys.stdin.readline)
    clients, until_s = made[:connections], time.monotonic() + seconds
    before = sum(client.answers for client in clients)
    for client in clients:
        client.ask(until_s)
    await asyncio.gather(*(client.done for client in clients))
    return sum(client.answers for client in clients) - before


def main() -> None:
    """Asks as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("form")
    parser.add_argument("--models", type=int, default=1, help="that are asked in turn")
    parser.add_argument("--idle", type=int, default=0, help="connections that ask once and rest")
    options = parser.parse_args()
    models = [requests(name_of(number))[options.form] for number in range(options.models)]
    print(  # noqa: T201
        uvloop.run(load(options.port, options.connections, options.seconds, models, options.idle)), flush=True
    )


if __name__ == "__main__":
    main()
