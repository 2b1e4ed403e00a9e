"""Watches whether a client takes its answer: who does not get on with it is cut off, however much the server holds.

What the client's system has acknowledged is taken. What has left the server's own buffers tells too little: it goes
in steps of a megabyte and more, since the kernel takes nothing more before a third of what it holds has gone. Judged
from outside, on the clock of the sweeper. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import socket
import sys

from service.gateway.http.limits import Limits

# Of Linux's `struct tcp_info` (linux/tcp.h): its `tcpi_bytes_acked`, a number of 64 bits.
_ACKED = slice(120, 128)


class ReaderWatch:
    """Over the client of one connection.

    Args:
        transport: to it.
        limits: of the connection.
    """

    __slots__ = ("_acked_bytes", "_left_bytes", "_limits", "_since_s", "_transport")

    def __init__(self, transport: asyncio.Transport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._since_s: float | None = None  # None while it takes what it is given
        self._left_bytes = self._acked_bytes = 0

    def begin(self, now_s: float) -> None:
        """It takes its answer more slowly than it is given, from now on."""
        self._since_s, self._left_bytes = now_s, self._transport.get_write_buffer_size()
        self._acked_bytes = _acked_bytes(self._transport)

    def end(self) -> None:
        """It has taken most of it."""
        self._since_s = None

    def judge(self, now_s: float) -> None:
        """Cuts the connection where a window took too little; one that closes behind an answer is watched, too."""
        if self._since_s is None:
            if self._transport.is_closing():
                self.begin(now_s)
        elif now_s - self._since_s >= self._limits.window_s:
            left_bytes, acked_bytes = self._left_bytes, self._acked_bytes
            self.begin(now_s)
            if max(left_bytes - self._left_bytes, self._acked_bytes - acked_bytes) < self._limits.window_bytes:
                self._transport.abort()


def _acked_bytes(transport: asyncio.Transport) -> int:
    """How much the client's system has acknowledged since the connection began; 0 where this one does not tell."""
    try:
        told = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.stop)
    except (AttributeError, OSError, ValueError):  # not Linux, or a connection that has just gone
        return 0
    return int.from_bytes(told[_ACKED], sys.byteorder)
