"""Watches whether a client takes its answer: who does not get on with it is cut off, however much the server holds.

Judged from outside, on the clock of the sweeper. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio

from service.gateway.http.limits import Limits


class ReaderWatch:
    """Over the client of one connection.

    Args:
        transport: to it.
        limits: of the connection.
    """

    __slots__ = ("_left_bytes", "_limits", "_since_s", "_transport")

    def __init__(self, transport: asyncio.Transport, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._since_s: float | None = None  # None while it takes what it is given
        self._left_bytes = 0

    def begin(self, now_s: float) -> None:
        """It takes its answer more slowly than it is given, from now on."""
        self._since_s, self._left_bytes = now_s, self._transport.get_write_buffer_size()

    def end(self) -> None:
        """It has taken most of it."""
        self._since_s = None

    def judge(self, now_s: float) -> None:
        """Cuts the connection where a window took too little; one that closes behind an answer is watched, too."""
        if self._since_s is None:
            if self._transport.is_closing():
                self.begin(now_s)
        elif now_s - self._since_s >= self._limits.window_s:
            if self._left_bytes - self._transport.get_write_buffer_size() < self._limits.window_bytes:
                self._transport.abort()
            self.begin(now_s)
