"""Lets answers out in the order in which their requests came, however many engines work on them.

Each level is a line of its own: an answer waits for every request of its level that came before it, but for those that
have ended otherwise. Errors wait for nobody. Ends no ticket itself. Owned by the event loop's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from service.batching.contract import Answer
from service.batching.ticket import Ticket

End = Callable[[Ticket, Answer, float], bool]


class Order:
    """The tickets whose answers leave in order.

    Args:
        end: ends a ticket with its answer, at a time.
    """

    def __init__(self, end: End) -> None:
        self._end = end
        self._lines: dict[int, OrderedDict[int, Ticket]] = {}
        self._held: dict[int, Answer] = {}

    def enter(self, ticket: Ticket) -> None:
        """A ticket came, the last so far."""
        self._lines.setdefault(ticket.level, OrderedDict())[ticket.number] = ticket

    def answer(self, ticket: Ticket, answer: Answer, now_s: float) -> None:
        """A ticket's answer is there: it leaves now if nobody is before it, and so do those that waited for it."""
        if ticket.number not in self._lines.get(ticket.level, ()):
            self._end(ticket, answer, now_s)
            return
        self._held[ticket.number] = answer
        self._let_out(ticket.level, now_s)

    def leave(self, ticket: Ticket, now_s: float) -> None:
        """A ticket has ended otherwise, or has lost its place: nobody waits for it any more."""
        line = self._lines.get(ticket.level)
        if line is not None and line.pop(ticket.number, None) is not None:
            self._held.pop(ticket.number, None)
            self._let_out(ticket.level, now_s)

    def clear(self) -> None:
        """Forgets everyone."""
        self._lines.clear()
        self._held.clear()

    @property
    def held(self) -> int:
        """Answers that wait for others."""
        return len(self._held)

    def _let_out(self, level: int, now_s: float) -> None:
        line = self._lines[level]
        while line:
            number = next(iter(line))
            if number not in self._held:
                return
            self._end(line.pop(number), self._held.pop(number), now_s)
        del self._lines[level]
