"""Notes of one block while it runs: when each request was written, when it was answered, and what came of it.

Every request ends once; a second word about one that has ended is not heard.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from loadtests.generator.block import UNANSWERED, UNCHECKED, Answer, Block, Sent


class Records:
    """The notes of one block; times count from `begin`.

    Args:
        block: what is sent when.
    """

    def __init__(self, block: Block) -> None:
        count = len(block.planned_s)
        self._block = block
        self._began = 0.0
        self._sent = np.full(count, np.nan)
        self._done = np.full(count, np.nan)
        self._status = np.full(count, UNANSWERED, np.int16)
        self._ended = bytearray(count)
        self._open = count
        self.answers: list[Answer | None] = [None] * count
        self.finished = asyncio.Event()

    def begin(self) -> None:
        """The block begins now."""
        self._began = time.perf_counter()

    def elapsed_s(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began

    def wrote(self, request: int) -> None:
        """The generator came to the request now: it goes out, or waits for a connection."""
        self._sent[request] = self.elapsed_s()

    def answered(self, request: int, status: int, answer: Answer) -> None:
        """Its answer became whole now."""
        done_s = self.elapsed_s()
        if self._end(request, status):
            self._done[request] = done_s
            self.answers[request] = answer

    def failed(self, request: int, status: int) -> None:
        """No answer will come; the status is one of the block's constants."""
        self._end(request, status)

    def refused(self, request: int, status: int) -> None:
        """It was answered now, with an error and no body to keep."""
        self.answered(request, status, Answer(b"", 0))

    def sent_block(self) -> Sent:
        """All of it; an answer that took longer than the block's timeout counts as none."""
        count = len(self._block.planned_s)
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

    def _end(self, request: int, status: int) -> bool:
        if self._ended[request]:
            return False
        self._ended[request] = True
        self._status[request] = status
        self._open -= 1
        if self._open == 0:
            self.finished.set()
        return True
