"""Who is let in: a bounded queue that does not stand, and deadlines that can be met. Whoever is refused costs nothing.

What is refused whatever the request says can be told before anybody reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NoReturn

from service.batching.contract import BatchConfig, RefusalReason
from service.batching.crew import Crew
from service.batching.endings import expired
from service.batching.forecast import Forecast
from service.batching.levels import Levels
from service.batching.policy import WaitLimits, retry_after_s, short_wait_s, wait_limits
from service.batching.queue import Queue
from service.batching.standing import Standing
from service.batching.ticket import Piece, Ticket
from service.core.errors import Rejected

Refused = Callable[[RefusalReason], None]


class Admission:
    """The door of one batcher.

    Args:
        config: the version's knobs.
        forecast: of waits.
        crew: the engines.
        refused: hears of every request that is refused, but for the server's own.
    """

    def __init__(self, config: BatchConfig, forecast: Forecast, crew: Crew, refused: Refused) -> None:
        policies = Levels(config).policies
        self._most_s = [math.inf if p.delays and p.max_wait_s is None else p.max_wait_s for p in policies]
        self._short_s = [short_wait_s(most_s) for most_s in self._most_s]
        self._forecast = forecast
        self._crew = crew
        self._refused = refused
        self._standing = [Standing() for _ in policies]
        self._known = [(-1.0, wait_limits(0.0, None)) for _ in policies]  # of a best run of so many seconds

    def admit(self, queue: Queue, rows: int, ticket: Ticket, places: int) -> None:
        """Lets a request of `rows` rows in, or raises.

        Args:
            queue: what waits already.
            rows: its own.
            ticket: it, without pieces: its level, deadline, and how long it may wait.
            places: requests of its level that may wait beside one another; none or fewer where others fill them.

        Raises:
            Expired: its deadline has passed already.
            Rejected: the queue is full or stands, or its deadline or its time to wait cannot be met.
        """
        now_s = ticket.arrived_s
        if now_s >= ticket.deadline_s:
            raise expired()
        ticket.predicted_wait_s = wait_s = self.check(queue, ticket.level, places, now_s, quiet=ticket.quiet)
        if wait_s is None:
            return  # also where the curve says that no deadline can be met: only a run can prove it wrong
        left_s = ticket.deadline_s - now_s
        if left_s != math.inf and (needed_s := wait_s + self._forecast.run_s(rows)) > left_s:
            took = f"an answer takes about {needed_s * 1e3:.0f} ms now, and {left_s * 1e3:.0f} ms are left"
            sentence = f"the deadline cannot be met: {took}"
            self._refuse(RefusalReason.DEADLINE, sentence, wait_s, quiet=ticket.quiet)
        left_s = math.inf if ticket.delays else ticket.wait_until_s - now_s
        if wait_s > left_s:
            passes = f"about {wait_s * 1e3:.0f} ms pass before a run now, and {left_s * 1e3:.0f} ms are allowed"
            sentence = f"the timeout would pass in the queue: {passes}"
            self._refuse(RefusalReason.TIMEOUT, sentence, wait_s, quiet=ticket.quiet)

    def check(self, queue: Queue, level: int, places: int, now_s: float, *, quiet: bool = False) -> float | None:
        """The wait that a newcomer of `level` must expect, in seconds; None where it need not wait at all.

        Raises:
            Rejected: whatever it asks for, it is not let in.
        """
        if not queue.requests and self._crew.idle and places > 0:
            self._standing[level].idle()
            return None
        wait_s = self._forecast.wait_s(queue, level, now_s)
        waiting = queue.requests_of(level) if level else queue.requests
        if waiting >= places:
            which = f"the queue of priority level {level}" if level else "the queue"
            sentence = f"{which} is full: {waiting} requests wait already"
            self._refuse(RefusalReason.FULL, sentence, wait_s, quiet=quiet)
        if wait_s > self._short_s[level] and not quiet:
            self._check_wait(queue, level, now_s, wait_s)
        return wait_s

    def began(self, queue: Queue, pieces: list[Piece], now_s: float) -> None:
        """A run of these pieces, which have just left the queue, begins: their waits show how good a forecast was."""
        # Within a level the youngest comes last. Not those that are served before others, or wait for parts of theirs.
        youngest: dict[int, Ticket] = {}
        for piece in pieces:
            ticket = piece.ticket
            if not ticket.quiet and piece is ticket.pieces[0]:
                youngest[ticket.level] = ticket
        for level, ticket in youngest.items():
            waited_s = now_s - ticket.arrived_s
            if ticket.predicted_wait_s is not None:
                self._forecast.learn(level, ticket.predicted_wait_s, waited_s)
            if waited_s <= self._short_s[level]:
                self._standing[level].short()
            else:
                self._standing[level].waited(waited_s, self._limits(queue, level, now_s), now_s)

    def _check_wait(self, queue: Queue, level: int, now_s: float, wait_s: float) -> None:
        allowed_s = self._standing[level].allowed_s(self._limits(queue, level, now_s))
        if wait_s > allowed_s:
            sentence = f"the model is overloaded: about {wait_s * 1e3:.0f} ms pass before a run now"
            self._refuse(RefusalReason.OVERLOAD, f"{sentence}, and {allowed_s * 1e3:.0f} ms are allowed", wait_s)

    def _limits(self, queue: Queue, level: int, now_s: float) -> WaitLimits:
        run_s = self._forecast.best_run_s(queue, now_s)
        known_run_s, limits = self._known[level]
        if run_s != known_run_s:
            limits = wait_limits(run_s, self._most_s[level])
            self._known[level] = run_s, limits
        return limits

    def _refuse(self, reason: RefusalReason, sentence: str, wait_s: float, *, quiet: bool = False) -> NoReturn:
        if not quiet:
            self._refused(reason)
        raise Rejected(sentence, retry_after_s(wait_s))
