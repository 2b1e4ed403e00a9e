"""A large body of tensors on its way: read from the socket into the memory in which it stays, past the parser.

The parser's way copies each byte five times, which takes a core 0.3 ms for an image of 600 kB. Stands where the
transport expects its protocol, from the moment when a handler asks for the body until its last byte came. What nobody
wants any more is read over, into little memory. Knows nothing of what the body says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from service.core.errors import Abandoned, Rejected, TooLarge
from service.gateway.guard import INTO
from service.gateway.http.room import room_for

LEAST_BYTES = 64 << 10
_ALIGNED_BYTES = 64
_READ_OVER_BYTES = 64 << 10  # at once
_LENGTH_DIGITS = 15
_NOTHING = memoryview(b"")
_GONE = "the client went away before the end of its request"
_OTHERWISE = frozenset({b"transfer-encoding", b"expect"})


class Reader(Protocol):
    """The connection whose body it is."""

    transport: Any
    scope: Any
    cycle: Any
    flow: Any
    large: LargeBody | None

    def body_came(self, size_bytes: int) -> None:
        """So many bytes of it came."""

    def body_is_whole(self) -> None:
        """Its last byte came; the transport is the connection's again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """As of any protocol."""

    def eof_received(self) -> None:
        """As of any protocol."""

    def pause_writing(self) -> None:
        """As of any protocol."""

    def resume_writing(self) -> None:
        """As of any protocol."""


class LargeBody(asyncio.BufferedProtocol):
    """See the module.

    Args:
        reader: the connection.
        size_bytes: of the whole body.
        aligned_at: the offset, in bytes, that lies well for arrays.
        take: hears of the bytes as they come; may raise `Rejected` or `TooLarge`, which ends the wait.

    Attributes:
        whole: ends when all of it is there, or with why it will not be.
    """

    def __init__(self, reader: Reader, size_bytes: int, aligned_at: int, take: Callable[[int], None]) -> None:
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._missing_bytes = size_bytes
        self._take = take
        room = room_for(size_bytes + _ALIGNED_BYTES)
        start = -(room.ctypes.data + aligned_at) % _ALIGNED_BYTES
        self._memory = room.data[start : start + size_bytes]

    def begin(self, begun: bytes | bytearray) -> None:
        """Takes what came already, and from now on what the transport reads. Raises what `take` does."""
        self._take(len(begun))
        self._memory[: len(begun)] = begun
        self._missing_bytes -= len(begun)
        if self._missing_bytes:
            self._reader.large = self
            self._reader.transport.set_protocol(self)
        else:
            self.whole.set_result(None)

    def let_go(self) -> memoryview:
        """What came of it, read-only; kept here no longer, since a transport keeps whom it asked last for memory."""
        memory, self._memory = self._memory, _NOTHING
        return memory.toreadonly()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: never room for more than the body's."""
        if self.whole.done():
            if len(self._memory) != _READ_OVER_BYTES:
                self._memory = memoryview(bytearray(_READ_OVER_BYTES))
            return self._memory[: self._missing_bytes]
        return self._memory[-self._missing_bytes :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many came."""
        self._missing_bytes -= nbytes
        self._reader.body_came(nbytes)
        if not self.whole.done():
            try:
                self._take(nbytes)
            except (Rejected, TooLarge) as error:
                self.fail(error)
        if not self._missing_bytes:
            self._reader.transport.set_protocol(self._reader)
            self._reader.body_is_whole()
            if self.whole.done():
                self._memory = _NOTHING
            else:
                self.whole.set_result(None)

    def fail(self, error: Exception) -> None:
        """Nobody is to wait for the rest of it, nor to keep what came."""
        if not self.whole.done():
            self._memory = _NOTHING
            self.whole.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._reader.large = None
        self.fail(Abandoned(_GONE))
        self._reader.connection_lost(exc)

    def eof_received(self) -> None:
        """The client sends nothing more."""
        self._reader.eof_received()

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it is given."""
        self._reader.pause_writing()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._reader.resume_writing()


def offer(reader: Reader, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Lets the handler of the request that begins read its body so, where that is large and comes as it is."""
    named = dict(headers)
    length = named.get(b"content-length", b"")
    if not length.isdigit() or len(length) > _LENGTH_DIGITS or not _OTHERWISE.isdisjoint(named):
        return
    if int(length) > LEAST_BYTES:
        reader.scope[INTO] = partial(_read, reader, reader.cycle, int(length))


async def _read(
    reader: Reader, cycle: Any, size_bytes: int, aligned_at: int, take: Callable[[int], None]
) -> memoryview:
    if cycle.disconnected:
        raise Abandoned(_GONE)
    large = LargeBody(reader, size_bytes, aligned_at, take)
    begun, cycle.body = cycle.body, bytearray()
    large.begin(begun)
    del begun
    reader.flow.resume_reading()
    try:
        await large.whole
    finally:
        body = large.let_go()
        del large  # an error, which it holds, would hold it in turn by its traceback
    return body
