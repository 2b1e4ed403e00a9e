"""Points in time at which somebody has to look at a ticket, the soonest first.

Holds numbers of tickets, so that an ended one and its arrays are not kept alive, and forgets those of ended tickets.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Sized
from typing import Protocol

_SLACK = 64  # ended tickets that may stay before they are swept


class OpenNumbers(Container[int], Sized, Protocol):
    """The numbers of the open tickets."""


class Times:
    """What is due when.

    Args:
        open_numbers: of the tickets that have not ended; all others are forgotten.
    """

    __slots__ = ("_heap", "_open")

    def __init__(self, open_numbers: OpenNumbers) -> None:
        self._open = open_numbers
        self._heap: list[tuple[float, int]] = []

    def add(self, at_s: float, number: int) -> None:
        """Notes a point in time of an open ticket."""
        heapq.heappush(self._heap, (at_s, number))
        if len(self._heap) > 2 * len(self._open) + _SLACK:
            self._heap = [entry for entry in self._heap if entry[1] in self._open]
            heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_s(self) -> float:
        """The soonest point of an open ticket; `inf` without one."""
        while self._heap and self._heap[0][1] not in self._open:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def pop(self) -> int:
        """Takes out the soonest point and returns its ticket's number."""
        return heapq.heappop(self._heap)[1]
