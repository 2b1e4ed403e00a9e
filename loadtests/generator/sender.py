"""Sends one block of requests at their planned times over as many connections as it takes.

Open loop: a request is sent when it is due, whatever became of those before it. Timers of an event loop are a
millisecond coarse, so shortly before a request is due the loop is polled without waiting: the generator is given a
core of its own for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from loadtests.generator.block import CONNECTION_LOST, NOT_CONNECTED, UNANSWERED, UNCHECKED, Answer, Block, Sent
from loadtests.generator.connection import Connection

MOST_CONNECTIONS = 1000
# From here on the loop polls instead of sleeping; twice the coarseness of its timers.
POLL_S = 0.002


class Sender:
    """Sends one block, once.

    Args:
        address: host and port.
        requests: the pool, bytes ready to be written.
        block: what to send when.
    """

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], block: Block) -> None:
        self._address = address
        self._requests = requests
        self._block = block
        count = len(block.planned_s)
        self._planned: list[float] = block.planned_s.tolist()
        self._rows: list[int] = block.rows.tolist()
        self._sent = np.full(count, np.nan)
        self._done = np.full(count, np.nan)
        self._status = np.full(count, UNANSWERED, np.int16)
        self.answers: list[Answer | None] = [None] * count
        self._next = 0
        self._open = count
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connections: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()

    async def run(self) -> Sent:
        """Sends everything, and waits for the answers until the last one is in or has taken too long."""
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._connect() for _ in range(self._block.connections)))
        self._began = time.perf_counter()
        if self._planned:
            self._tick()
            lasts_s = self._planned[-1] + self._block.timeout_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), lasts_s)
        for task in self._connecting:
            task.cancel()
        for connection in self._connections:
            connection.close()
        return self._sent_block()

    def answered(self, connection: Connection, request: int, status: int, answer: Answer) -> None:
        """Notes the answer, and gives the connection its next request."""
        self._done[request] = time.perf_counter() - self._began
        self._status[request] = status
        self.answers[request] = answer
        self._count_down()
        if connection.usable:
            self._free(connection)
        else:
            self._connections.discard(connection)
            connection.close()
            self._reconnect()

    def lost(self, connection: Connection, request: int | None) -> None:
        """A connection ended; the server may close an idle one at any time."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if request is not None:
            self._fail(request, CONNECTION_LOST)
        self._reconnect()

    def _tick(self) -> None:
        """Sends what is due, and comes back in time for what is due next."""
        elapsed = time.perf_counter() - self._began
        while self._next < len(self._planned) and self._planned[self._next] <= elapsed:
            self._launch(self._next)
            self._next += 1
        if self._next == len(self._planned):
            return
        wait = self._planned[self._next] - (time.perf_counter() - self._began)
        if wait > POLL_S:
            self._loop.call_later(wait - POLL_S, self._tick)
        else:
            self._loop.call_soon(self._tick)

    def _launch(self, request: int) -> None:
        self._sent[request] = time.perf_counter() - self._began
        if self._idle:
            self._write(self._idle.pop(), request)
            return
        self._waiting.append(request)
        self._reconnect()

    def _reconnect(self) -> None:
        if len(self._connecting) < len(self._waiting) and self._all_connections() < MOST_CONNECTIONS:
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        try:
            opening = self._loop.create_connection(lambda: Connection(self), *self._address)
            _, connection = await asyncio.wait_for(opening, self._block.timeout_s)
        except OSError:  # TimeoutError is one
            if self._waiting:
                self._fail(self._waiting.popleft(), NOT_CONNECTED)
            return
        self._connections.add(connection)
        self._free(connection)

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            self._write(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _write(self, connection: Connection, request: int) -> None:
        connection.send(request, self._requests[self._rows[request]])

    def _fail(self, request: int, status: int) -> None:
        self._status[request] = status
        self._count_down()

    def _count_down(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._finished.set()

    def _all_connections(self) -> int:
        return len(self._connections) + len(self._connecting)

    def _sent_block(self) -> Sent:
        count = len(self._planned)
        late = self._done - self._block.planned_s > self._block.timeout_s
        return Sent(
            began_s=self._began,
            planned_s=self._block.planned_s,
            sent_s=self._sent,
            done_s=np.where(late, np.nan, self._done),
            status=np.where(late, UNANSWERED, self._status).astype(np.int16),
            rows=self._block.rows,
            checked=np.full(count, UNCHECKED, np.int8),
            classes=np.full(count, -1, np.int32),
        )
