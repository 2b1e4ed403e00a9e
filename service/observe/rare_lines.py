"""Keeps a library that fails over and over from flooding the log: one line a while, and how many were left out.

Takes the place of the library's way to the root logger. Knows no library.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class RareLines(logging.Handler):
    """Passes a logger's lines on to the root's handlers, at most one in `every_s` seconds.

    Args:
        name: of the logger, whose children are meant too.
        every_s: seconds.
        now_s: monotonic seconds.
    """

    def __init__(self, name: str, every_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.name = name
        self._every_s = every_s
        self._now_s = now_s
        self._next_s = -float("inf")
        self._left_out = 0

    def install(self) -> None:
        """Takes the logger over."""
        taken = logging.getLogger(self.name)
        taken.handlers = [self]
        taken.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Passes a line on, or counts it."""
        now_s = self._now_s()
        if now_s < self._next_s:
            self._left_out += 1
            return
        self._next_s = now_s + self._every_s
        if self._left_out:
            record.msg, record.args = f"{record.getMessage()} ({self._left_out} lines like it left out)", None
        self._left_out = 0
        logging.getLogger().handle(record)
