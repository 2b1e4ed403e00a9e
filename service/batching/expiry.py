"""Ends those whose time is over: the deadline, run or not, and the time to wait to be run.

Knows nothing of who runs what: how a ticket ends is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from service.batching.alarm import Alarm
from service.batching.contract import DropReason
from service.batching.endings import expired, outwaited
from service.batching.ledger import Ledger
from service.batching.ticket import Ticket
from service.core.errors import RetortError


class Expiry:
    """Watches over the deadlines of one batcher.

    Args:
        ledger: the open tickets.
        fail: ends a ticket with an error.
        delay: lets a ticket whose time to wait is over wait on, behind all others.
        alarm: makes the alarm that rings when somebody is due.
    """

    def __init__(
        self,
        ledger: Ledger,
        fail: Callable[[Ticket, RetortError, DropReason | None], None],
        delay: Callable[[Ticket], None],
        alarm: Callable[[Callable[[float], None]], Alarm],
    ) -> None:
        self._ledger = ledger
        self._fail = fail
        self._delay = delay
        self._alarm = alarm(self._end)
        self._soonest_s = math.inf  # perhaps of a ticket that has ended

    def watch(self, ticket: Ticket) -> None:
        """Looks after a new ticket too."""
        soonest_s = min(ticket.deadline_s, ticket.wait_until_s)
        if soonest_s < self._soonest_s:
            self._soonest_s = soonest_s
            self._alarm.at(soonest_s)

    def look(self, now_s: float) -> None:
        """Ends or delays whoever is due now, without waiting for the alarm, which rings when the loop comes to it."""
        if now_s >= self._soonest_s:
            self._end(now_s)

    def cancel(self) -> None:
        """Looks after nobody any more."""
        self._alarm.cancel()

    def _end(self, now_s: float) -> None:
        for ticket in self._ledger.due(now_s):
            self._fail(ticket, expired(), DropReason.EXPIRED)
        for ticket in self._ledger.outwaited(now_s):
            if ticket.delays:
                self._delay(ticket)
            else:
                self._fail(ticket, outwaited(), DropReason.EXPIRED)
        self._soonest_s = min(self._ledger.next_deadline_s, self._ledger.next_wait_s)
        self._alarm.at(self._soonest_s)
