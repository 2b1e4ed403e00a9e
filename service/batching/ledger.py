"""Every open ticket and its deadline. A ticket ends exactly once, and the only line of code that ends one is here.

Knows nothing of queues or engines: who else has to forget an ended ticket is the batcher's business.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

from service.batching.contract import Answer
from service.batching.ticket import Ticket
from service.core.errors import Expired, RetortError

_SLACK = 64  # ended tickets that may stay among the deadlines before these are swept


class Ledger:
    """The open tickets of one batcher, owned by the event loop's thread."""

    def __init__(self) -> None:
        self._open: dict[int, Ticket] = {}
        self._deadlines: list[tuple[float, int]] = []  # numbers, so that an ended ticket's answer is not kept alive
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, ticket: Ticket) -> None:
        """Enters a new ticket."""
        self._last_number += 1
        ticket.number = self._last_number
        self._open[ticket.number] = ticket
        if ticket.deadline_s == math.inf:
            return
        heapq.heappush(self._deadlines, (ticket.deadline_s, ticket.number))
        if len(self._deadlines) > 2 * len(self._open) + _SLACK:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._open]
            heapq.heapify(self._deadlines)

    def answer(self, ticket: Ticket, answer: Answer, now_s: float) -> bool:
        """Ends a ticket with its answer, or as expired when that comes too late; False when it had ended before."""
        if now_s >= ticket.deadline_s:
            return self._end(ticket, expired())
        return self._end(ticket, answer)

    def fail(self, ticket: Ticket, error: RetortError) -> bool:
        """Ends a ticket with an error; False when it had ended before."""
        return self._end(ticket, error)

    def fail_all(self, error: Callable[[], RetortError]) -> None:
        """Ends every open ticket, each with an error of its own."""
        for ticket in tuple(self._open.values()):
            self._end(ticket, error())

    def any_due(self, now_s: float) -> bool:
        """Whether it is time to look: some deadline has passed, if perhaps only of a ticket that has ended."""
        return bool(self._deadlines) and self._deadlines[0][0] <= now_s

    def due(self, now_s: float) -> Iterator[Ticket]:
        """The open tickets whose deadline has passed, soonest first; whoever asks must end them."""
        while self.next_deadline_s <= now_s:
            yield self._open[heapq.heappop(self._deadlines)[1]]

    @property
    def next_deadline_s(self) -> float:
        """The soonest deadline of an open ticket; `inf` without one."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def _end(self, ticket: Ticket, outcome: Answer | RetortError) -> bool:
        if ticket.ended:
            return False
        ticket.ended = True
        ticket.pieces = []  # they point back at it: no cycle may keep a request's arrays
        del self._open[ticket.number]
        if ticket.future.done():
            return True  # cancelled by its sender, who has not come to say so yet
        if isinstance(outcome, Answer):
            ticket.future.set_result(outcome)
        else:
            ticket.future.set_exception(outcome)
        return True


def expired() -> Expired:
    """What a request fails with whose deadline passed."""
    return Expired("the deadline passed before the answer was there")
