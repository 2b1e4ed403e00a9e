"""Writes log lines to a stream whose reader may stop: that costs lines, which are counted, and no request its time.

A pipe that is full makes its writer wait, which would be the event loop. A reader that is late is waited for, a tenth
of a second in every second at most; one that has stopped, no longer. Knows nothing of what a line says.
"""

from __future__ import annotations

import io
import logging
import os
import select
import time
from typing import TextIO

_PATIENCE_S = 0.1  # at most
_PATIENCE_SHARE = 0.1  # of the time that passes
_SLICE_BYTES = select.PIPE_BUF  # so much a pipe takes that says it can be written to


class Outlet(logging.StreamHandler[TextIO]):
    """A handler of all loggers.

    Args:
        stream: of a descriptor; one without, such as a text in memory, is written to as it is.
        patience_s: how long a reader that is late is waited for.
    """

    def __init__(self, stream: TextIO, patience_s: float = _PATIENCE_S) -> None:
        super().__init__(stream)
        self._most_patience_s = self._patience_s = patience_s
        self._waited_at_s = 0.0
        self._left_out = 0
        self._broken_off = False  # in the middle of a line
        self._descriptor = _descriptor_of(stream)
        self._poll = select.poll()
        if self._descriptor is not None:
            self._poll.register(self._descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, or counts it where nobody reads."""
        if self._descriptor is None:
            super().emit(record)
            return
        try:
            self._write(record, self._descriptor)
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord, descriptor: int) -> None:
        if not self._takes():
            self._left_out += 1
            return
        lines = self.format(record) + self.terminator
        if self._left_out:
            fields = {"lines": self._left_out}
            told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "fields": fields}
            told_line = self.format(logging.makeLogRecord({**told, "msg": "log lines left out, nobody read them"}))
            lines = f"{told_line}{self.terminator}{lines}"
            self._left_out = 0
        text = (self.terminator if self._broken_off else "") + lines
        self._broken_off = not self._put(descriptor, text.encode(self.stream.encoding, "backslashreplace"))
        self._left_out += self._broken_off

    def _put(self, descriptor: int, left: bytes) -> bool:
        """Writes all of it, in slices that do not wait; False where the reader stopped in the middle."""
        while left:
            left = left[os.write(descriptor, left[:_SLICE_BYTES]) :]
            if left and not self._takes():
                return False
        return True

    def _takes(self) -> bool:
        """Whether a slice can be written now, or soon."""
        if self._poll.poll(0):
            return True
        if self._left_out:
            return False
        began_s = time.monotonic()
        grown_s = self._patience_s + _PATIENCE_SHARE * (began_s - self._waited_at_s)
        patience_s = max(0.0, min(self._most_patience_s, grown_s))
        takes = bool(self._poll.poll(patience_s * 1e3))
        self._waited_at_s = time.monotonic()
        self._patience_s = patience_s - (self._waited_at_s - began_s)
        return takes


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, AttributeError, ValueError):
        return None
