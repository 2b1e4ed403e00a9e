"""Who is due is ended or delayed, in time, by the alarm or by whoever looks first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from service.batching.alarm import Alarm
from service.batching.contract import DropReason
from service.batching.expiry import Expiry
from service.batching.ledger import Ledger
from service.batching.ticket import Ticket, cut
from service.core.errors import Expired, Rejected, RetortError
from tests.fakes import ManualLoop, ids, run_manually


class Desk:
    """The expiry of a ledger, and what it did."""

    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.ledger = Ledger()
        self.failed: list[tuple[float, type[RetortError]]] = []
        self.delayed: list[float] = []
        self.expiry = Expiry(
            self.ledger, self._fail, self._delay, lambda ring: Alarm(loop, loop.clock, self._noting(ring))
        )
        self.rings = 0

    def ticket(self, *, deadline_s: float = math.inf, wait_s: float = math.inf, delays: bool = False) -> Ticket:
        now_s = self.loop.time()
        ticket = Ticket(self.loop.create_future(), now_s, now_s + deadline_s)
        ticket.wait_until_s, ticket.delays = now_s + wait_s, delays
        cut(ticket, ids(1, 1), 1, max_rows=4, alone=False)
        ticket.waiting = 1
        self.ledger.open(ticket)
        self.expiry.watch(ticket)
        return ticket

    def _fail(self, ticket: Ticket, error: RetortError, drop: DropReason | None) -> None:
        assert drop is DropReason.EXPIRED
        self.ledger.fail(ticket, error)
        ticket.future.exception()
        self.failed.append((round(self.loop.time() - 1000.0, 6), type(error)))

    def _delay(self, ticket: Ticket) -> None:
        self.delayed.append(round(self.loop.time() - 1000.0, 6))
        ticket.wait_until_s = math.inf

    def _noting(self, ring: Callable[[float], None]) -> Callable[[float], None]:
        def rung(now_s: float) -> None:
            self.rings += 1
            ring(now_s)

        return rung


def test_a_deadline_and_a_wait_end_when_they_are_over() -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop)
        desk.ticket(deadline_s=2.0)
        desk.ticket(wait_s=1.0)
        desk.ticket()
        await asyncio.sleep(5)
        assert desk.failed == [(1.0, Rejected), (2.0, Expired)]
        assert len(desk.ledger) == 1

    run_manually(main)


def test_who_may_be_late_is_delayed_once_and_not_ended() -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop)
        desk.ticket(wait_s=1.0, delays=True, deadline_s=3.0)
        await asyncio.sleep(2)
        assert (desk.delayed, desk.failed) == ([1.0], [])
        await asyncio.sleep(2)
        assert desk.failed == [(3.0, Expired)]

    run_manually(main)


def test_whoever_looks_first_need_not_wait_for_the_alarm() -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop)
        desk.ticket(deadline_s=1.0)
        loop.clock.advance(1.5)  # the loop was busy
        desk.expiry.look(loop.time())
        assert desk.failed == [(1.5, Expired)]
        assert desk.rings == 0

    run_manually(main)


def test_once_cancelled_it_rings_no_more() -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop)
        desk.ticket(deadline_s=1.0)
        desk.expiry.cancel()
        await asyncio.sleep(5)
        assert desk.rings == 0

    run_manually(main)
