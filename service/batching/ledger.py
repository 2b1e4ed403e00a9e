"""Every open ticket, its deadline, and how long it may wait: it ends exactly once, by the only line that ends one.

Knows nothing of queues or engines: who else has to forget an ended ticket is the batcher's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from service.batching.contract import Answer
from service.batching.endings import expired
from service.batching.ticket import Ticket
from service.batching.times import Times
from service.core.errors import RetortError


class Ledger:
    """The open tickets of one batcher, owned by the event loop's thread.

    Attributes:
        clients: how many of them are not the server's own.
    """

    def __init__(self) -> None:
        self.clients = 0
        self._open: dict[int, Ticket] = {}
        self._deadlines = Times(self._open)
        self._waits = Times(self._open)
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._open)

    def open(self, ticket: Ticket) -> None:
        """Enters a new ticket."""
        self._last_number += 1
        ticket.number = self._last_number
        self._open[ticket.number] = ticket
        self.clients += not ticket.quiet
        if ticket.deadline_s != math.inf:
            self._deadlines.add(ticket.deadline_s, ticket.number)
        if ticket.wait_until_s != math.inf:
            self._waits.add(ticket.wait_until_s, ticket.number)

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

    def due(self, now_s: float) -> Iterator[Ticket]:
        """The open tickets whose deadline has passed, soonest first; whoever asks must end them."""
        while self.next_deadline_s <= now_s:
            yield self._open[self._deadlines.pop()]

    def outwaited(self, now_s: float) -> Iterator[Ticket]:
        """The open tickets whose time to wait is over while they still wait, soonest first; each is told once."""
        while self._waits.next_s <= now_s:
            ticket = self._open[self._waits.pop()]
            if ticket.waits_whole:
                yield ticket

    @property
    def next_deadline_s(self) -> float:
        """The soonest deadline of an open ticket; `inf` without one."""
        return self._deadlines.next_s

    @property
    def next_wait_s(self) -> float:
        """When the next open ticket's time to wait is over; `inf` without one."""
        return self._waits.next_s

    def _end(self, ticket: Ticket, outcome: Answer | RetortError) -> bool:
        if ticket.ended:
            return False
        ticket.ended = True
        ticket.pieces = ()  # they point back at it: no cycle may keep a request's arrays
        ticket.outputs = None  # nor may whoever still holds the ticket
        del self._open[ticket.number]
        self.clients -= not ticket.quiet
        if ticket.future.done():
            return True  # cancelled by its sender, who has not come to say so yet
        if isinstance(outcome, Answer):
            ticket.future.set_result(outcome)
        else:
            ticket.future.set_exception(outcome)
        return True
