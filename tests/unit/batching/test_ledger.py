"""Every ticket ends exactly once, and at its deadline at the latest."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref

import numpy as np
import pytest

from service.batching.contract import Answer
from service.batching.endings import expired
from service.batching.ledger import Ledger
from service.batching.ticket import Ticket
from service.core.contract import Timing
from service.core.errors import Draining, Expired, RunFailed

ANSWER = Answer({"y": np.ones(1)}, Timing(0, 0, 0, 0), 1)


def opened(ledger: Ledger, deadline_s: float = math.inf) -> Ticket:
    ticket = Ticket(asyncio.get_running_loop().create_future(), 0.0, deadline_s)
    ledger.open(ticket)
    return ticket


async def test_an_answer_ends_a_ticket() -> None:
    ledger = Ledger()
    ticket = opened(ledger)
    assert len(ledger) == 1
    assert ledger.answer(ticket, ANSWER, now_s=0.0)
    assert ticket.future.result() is ANSWER
    assert (len(ledger), ticket.ended) == (0, True)


async def test_the_server_s_own_questions_are_no_clients() -> None:
    ledger = Ledger()
    own = Ticket(asyncio.get_running_loop().create_future(), 0.0, math.inf, quiet=True)
    ledger.open(own)
    ticket = opened(ledger)
    assert (len(ledger), ledger.clients) == (2, 1)
    ledger.answer(ticket, ANSWER, now_s=0.0)
    assert (len(ledger), ledger.clients) == (1, 0)
    ledger.fail(own, RunFailed("no"))
    ledger.fail(own, RunFailed("again"))
    assert (len(ledger), ledger.clients) == (0, 0)


async def test_an_error_ends_a_ticket() -> None:
    ledger = Ledger()
    ticket = opened(ledger)
    assert ledger.fail(ticket, RunFailed("no"))
    assert isinstance(ticket.future.exception(), RunFailed)


async def test_only_the_first_end_counts() -> None:
    ledger = Ledger()
    ticket = opened(ledger)
    ledger.answer(ticket, ANSWER, 0.0)
    assert not ledger.fail(ticket, RunFailed("late"))
    assert not ledger.answer(ticket, ANSWER, 0.0)
    assert ticket.future.result() is ANSWER


async def test_an_answer_that_comes_too_late_is_an_expiry() -> None:
    ledger = Ledger()
    in_time, late = opened(ledger, 10.0), opened(ledger, 10.0)
    ledger.answer(in_time, ANSWER, now_s=9.999)
    ledger.answer(late, ANSWER, now_s=10.0)
    assert in_time.future.result() is ANSWER
    assert isinstance(late.future.exception(), Expired)


async def test_whose_sender_has_left_ends_in_silence() -> None:
    ledger = Ledger()
    ticket = opened(ledger)
    ticket.future.cancel()
    assert ledger.answer(ticket, ANSWER, 0.0)
    assert ticket.future.cancelled()
    assert len(ledger) == 0


async def test_due_tickets_come_soonest_first_and_ended_ones_not_at_all() -> None:
    ledger = Ledger()
    third, first, ended, later = (opened(ledger, at_s) for at_s in (3.0, 1.0, 2.0, 9.0))
    ledger.answer(ended, ANSWER, 0.0)
    due = []
    for ticket in ledger.due(3.0):
        ledger.fail(ticket, expired())
        due.append(ticket)
    assert due == [first, third]
    assert ledger.next_deadline_s == 9.0
    ledger.fail(later, expired())
    assert ledger.next_deadline_s == math.inf


async def test_a_ticket_without_a_deadline_is_never_due() -> None:
    ledger = Ledger()
    opened(ledger)
    assert list(ledger.due(1e12)) == []
    assert ledger.next_deadline_s == math.inf


async def test_all_fail_each_with_an_error_of_its_own() -> None:
    ledger = Ledger()
    tickets = [opened(ledger, 5.0) for _ in range(3)]
    ledger.fail_all(lambda: Draining("closing"))
    errors = [ticket.future.exception() for ticket in tickets]
    assert all(isinstance(error, Draining) for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert len(ledger) == 0


async def test_answers_are_not_kept_until_their_deadline() -> None:
    ledger = Ledger()
    opened(ledger, 1.0)  # so that the ended one is not on top
    ticket = opened(ledger, 60.0)
    y = np.ones(3)
    ledger.answer(ticket, Answer({"y": y}, Timing(0, 0, 0, 0), 1), 0.0)
    alive = weakref.ref(y)
    del ticket, y
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("many", [10_000])
async def test_ended_tickets_do_not_pile_up(many: int) -> None:
    ledger = Ledger()
    for _ in range(many):
        ledger.answer(opened(ledger, 60.0), ANSWER, 0.0)
    assert len(ledger._deadlines) < 200
