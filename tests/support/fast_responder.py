"""The quickest server that Python gives: one answer, ready ahead, for every so many bytes that arrive.

`python -m tests.support.fast_responder BYTES CORE` prints its port; it ends when its standard input does. It stands in
for a server that is quicker than the generator, so that what is measured is the generator.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from tests.support.scripted import answer

ANSWER = answer(b'{"model_name":"m","model_version":"1","outputs":[]}')


class Responder(asyncio.Protocol):
    """One connection; every request is of one size."""

    def __init__(self, size: int) -> None:
        self._size, self._had = size, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        whole, self._had = divmod(self._had + len(data), self._size)
        if whole:
            self._transport.write(ANSWER * whole)  # type: ignore[attr-defined]


async def _serve(size: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Responder(size), "127.0.0.1", 0, backlog=512)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    uvloop.run(_serve(int(sys.argv[1])))
