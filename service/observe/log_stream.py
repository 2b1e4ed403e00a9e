"""Where lines of the log go: written at once where their reader keeps up, else kept, and beyond that left out.

A pipe whose reader stands still holds up whoever writes into it, which is the event loop, and so every client and the
end of the server. While nobody reads, lines wait in memory for one thread; what does not fit is counted. Knows no
format of lines.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

KEPT_BYTES = 1 << 20
CLOSE_S = 0.5  # for a reader that is only slow
_PIECE_BYTES = select.PIPE_BUF  # what a pipe that can be written to takes without waiting


class LogStream:
    """A text stream for a logging handler.

    Args:
        descriptor: of an open file, pipe, socket or terminal; not closed here.
        left_out: makes the line that tells how many were left out.
        kept_bytes: of lines that wait.
    """

    def __init__(self, descriptor: int, left_out: Callable[[int], str], kept_bytes: int = KEPT_BYTES) -> None:
        self._descriptor = descriptor
        self._left_out_line = left_out
        self._kept_bytes = kept_bytes
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._left_out = 0
        self._writing = False  # by a thread, which owns the descriptor meanwhile

    def write(self, text: str) -> int:
        """Writes a line, or keeps it, or leaves it out; waits for nobody."""
        line = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if not self._writing and not self._waiting:
                line = self._written_now(line)
            if line:
                self._keep(line)
        return len(text)

    def flush(self) -> None:
        """Nothing: whatever can be written is."""

    def drain(self, timeout_s: float = CLOSE_S) -> None:
        """Waits until all that is kept is written, for at most so long."""
        with self._changed:
            if self._waiting:
                self._begin()  # there may have been no thread for the last line
            self._changed.wait_for(lambda: not self._writing, timeout_s)

    def _written_now(self, line: bytes) -> bytes:
        """What of a line is left once no more can be written without waiting."""
        while line and _writable(self._descriptor, 0):
            line = line[_write(self._descriptor, line[:_PIECE_BYTES]) :]
        return line

    def _keep(self, line: bytes) -> None:
        """Keeps a line, or the rest of one, which is never left out: the line behind it would be no line."""
        if (self._writing or self._waiting) and self._waiting_bytes + len(line) > self._kept_bytes:
            self._left_out += 1
        else:
            self._waiting.append(line)
            self._waiting_bytes += len(line)
        self._begin()

    def _begin(self) -> None:
        if not self._writing:
            with suppress(RuntimeError):  # the system refuses a thread: the next line asks again
                threading.Thread(target=self._write_kept, name="log", daemon=True).start()
                self._writing = True  # which the thread sees: it asks for the lock first

    def _write_kept(self) -> None:
        while (line := self._next()) is not None:
            while line:
                _writable(self._descriptor, None)
                line = line[_write(self._descriptor, line[:_PIECE_BYTES]) :]

    def _next(self) -> bytes | None:
        with self._changed:
            if not self._waiting and self._left_out:
                self._waiting.append(self._left_out_line(self._left_out).encode())
                self._waiting_bytes, self._left_out = len(self._waiting[0]), 0
            if not self._waiting:
                self._writing = False
                self._changed.notify_all()
                return None
            line = self._waiting.popleft()
            self._waiting_bytes -= len(line)
            return line


def _writable(descriptor: int, timeout_ms: int | None) -> bool:
    """Whether a piece can be written without waiting, or never will be."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(timeout_ms))


def _write(descriptor: int, piece: bytes) -> int:
    """How much was written; all of it where nobody reads any more, or ever did."""
    try:
        return os.write(descriptor, piece)
    except BlockingIOError:  # another process had the room
        return 0
    except OSError:
        return len(piece)
