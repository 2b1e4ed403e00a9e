"""HTTP/1.1 over as many connections as it takes; each carries one request at a time."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Sequence

from loadtests.generator.block import CONNECTION_LOST, EXHAUSTED, NOT_CONNECTED, Answer, Block
from loadtests.generator.connection import Connection
from loadtests.generator.records import Records
from loadtests.generator.tls import Tls
from loadtests.generator.transport import Address, Opener

MOST_CONNECTIONS = 1000
_OURS = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL)


class HttpTransport:
    """The connections of one block.

    Args:
        address: host and port.
        requests: the pool, whole HTTP requests ready to be written.
        block: which of them are sent, and how many connections are opened first.
        records: told what comes of each.
        tls: how connections are made; None for plain ones.
    """

    def __init__(
        self, address: Address, requests: Sequence[bytes], block: Block, records: Records, tls: Tls | None = None
    ) -> None:
        self._address = address
        self._context = None if tls is None else tls.context()
        self._requests = requests
        self._rows: list[int] = block.rows.tolist()
        self._first = block.connections
        self._timeout_s = block.timeout_s
        self._records = records
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connections: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._to_come = 0  # connections that are being made; their tasks end a turn of the loop later

    async def open(self) -> None:
        """Opens the block's first connections."""
        self._loop = asyncio.get_running_loop()
        self._to_come = self._first
        await asyncio.gather(*(self._connect() for _ in range(self._first)))

    def launch(self, request: int) -> None:
        """Writes the request to an idle connection; without one it waits for one, which is no lag of the generator."""
        self._records.wrote(request)
        if self._idle:
            self._write(self._idle.pop(), request)
            return
        self._waiting.append(request)
        self._reconnect()

    async def close(self) -> None:
        """Ends all connections."""
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        await asyncio.gather(*connecting, return_exceptions=True)  # one may be made by now, and is closed below
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)  # a transport is closed in the loop's next turn

    # What a connection tells.

    def answered(self, connection: Connection, request: int, status: int, answer: Answer) -> None:
        """Notes the answer, and gives the connection its next request."""
        self._records.answered(request, status, answer)
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
            self._records.failed(request, CONNECTION_LOST)
        self._reconnect()

    def _reconnect(self) -> None:
        if self._to_come < len(self._waiting) and len(self._connections) + self._to_come < MOST_CONNECTIONS:
            self._to_come += 1
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        connection = None
        try:
            opening = self._loop.create_connection(lambda: Connection(self), *self._address, ssl=self._context)
            _, connection = await asyncio.wait_for(opening, self._timeout_s)
        except OSError as error:  # TimeoutError is one
            self._fail_first(EXHAUSTED if error.errno in _OURS else NOT_CONNECTED)
        finally:
            self._to_come -= 1
        if connection is None:
            self._reconnect()  # others wait, where there were more than may be connected at once
        elif connection.usable:
            self._connections.add(connection)
            self._free(connection)
        else:  # it ended before this task went on
            self._fail_first(CONNECTION_LOST)
            self._reconnect()

    def _fail_first(self, status: int) -> None:
        if self._waiting:
            self._records.failed(self._waiting.popleft(), status)

    def _free(self, connection: Connection) -> None:
        if self._waiting:
            self._write(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _write(self, connection: Connection, request: int) -> None:
        connection.send(request, self._requests[self._rows[request]])


def over(tls: Tls | None) -> Opener:
    """What makes a transport whose connections are made so."""

    def opener(address: Address, requests: Sequence[bytes], block: Block, records: Records) -> HttpTransport:
        return HttpTransport(address, requests, block, records, tls)

    return opener
