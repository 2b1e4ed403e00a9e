"""One timer for the deadlines of all connections of a server, and a coarse clock that costs a connection no call.

A loop that was held up fires its timers before it reads what has come meanwhile. So each look has two steps: the time
is taken, everything that waits is read, and then the connections are judged by that time. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from service.observe.logs import Log

_READ_S = 0.01  # more than no time: the loop reads its sockets in between


class Judged(Protocol):
    """What has deadlines."""

    def judge(self, now_s: float) -> None:
        """Acts on deadlines that are over."""
        ...


class Sweeper:
    """See the module.

    Args:
        log: gets a line for each look that finds connections turned away, and for what fails in one.
        every_s: between two looks.

    Attributes:
        now_s: of the loop's clock, at most a look ago.
    """

    def __init__(self, log: Log, every_s: float) -> None:
        self.now_s = 0.0
        self._log = log
        self._every_s = every_s
        self._connections: Collection[Judged] = ()
        self._turned_away = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, connections: Collection[Judged]) -> None:
        """Begins to look at whatever is in `connections`; on the loop that serves them."""
        self._connections = connections
        self._take_time()

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def turned_away(self) -> None:
        """Takes note of a connection for which there was no room."""
        self._turned_away += 1

    def _take_time(self) -> None:
        loop = asyncio.get_running_loop()
        self.now_s = loop.time()
        self._timer = loop.call_later(_READ_S, self._judge)

    def _judge(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._take_time)
        for connection in tuple(self._connections):
            try:
                connection.judge(self.now_s)
            except Exception as error:  # a defect of ours: the time of the others is up all the same
                self._log.error("a connection could not be judged", exc_info=error)
        if self._turned_away:
            self._log.warning("connections turned away", count=self._turned_away, open=len(self._connections))
            self._turned_away = 0
