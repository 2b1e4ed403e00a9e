"""Answers leave in the order of their requests; whoever ends otherwise holds up nobody."""

from __future__ import annotations

import asyncio
import math

import numpy as np

from service.batching.contract import Answer
from service.batching.ledger import Ledger
from service.batching.order import Order
from service.batching.ticket import Ticket
from service.core.contract import Timing
from service.core.errors import RunFailed

ANSWER = Answer({"y": np.ones(1)}, Timing(0, 0, 0, 0), 1)


class Desk:
    """A ledger and the order before it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.order = Order(self.ledger.answer)

    def ticket(self, level: int = 0, deadline_s: float = math.inf) -> Ticket:
        made = Ticket(asyncio.get_running_loop().create_future(), 0.0, deadline_s, level=level)
        self.ledger.open(made)
        self.order.enter(made)
        return made

    def answer(self, ticket: Ticket, now_s: float = 0.0) -> None:
        self.order.answer(ticket, ANSWER, now_s)

    def fail(self, ticket: Ticket) -> None:
        self.ledger.fail(ticket, RunFailed("no"))
        self.order.leave(ticket, 0.0)


def ended(*tickets: Ticket) -> list[bool]:
    return [ticket.ended for ticket in tickets]


async def test_an_answer_waits_for_those_before_it() -> None:
    desk = Desk()
    first, second, third = desk.ticket(), desk.ticket(), desk.ticket()
    desk.answer(third)
    desk.answer(second)
    assert (ended(first, second, third), desk.order.held) == ([False, False, False], 2)
    desk.answer(first)
    assert (ended(first, second, third), desk.order.held) == ([True, True, True], 0)
    assert third.future.result() is ANSWER


async def test_an_error_waits_for_nobody_and_lets_those_behind_it_out() -> None:
    desk = Desk()
    first, second, third = desk.ticket(), desk.ticket(), desk.ticket()
    desk.answer(second)
    desk.fail(third)
    assert ended(first, second, third) == [False, False, True]
    desk.fail(first)
    assert ended(first, second, third) == [True, True, True]


async def test_each_level_is_a_line_of_its_own() -> None:
    desk = Desk()
    slow, quick = desk.ticket(level=2), desk.ticket(level=1)
    desk.answer(quick)
    assert ended(slow, quick) == [False, True]


async def test_who_lost_his_place_is_answered_at_once_and_holds_up_nobody() -> None:
    desk = Desk()
    first, late, third = desk.ticket(), desk.ticket(), desk.ticket()
    desk.order.leave(late, 0.0)
    desk.answer(late)
    desk.answer(third)
    assert ended(first, late, third) == [False, True, False]
    desk.answer(first)
    assert ended(first, third) == [True, True]


async def test_a_held_answer_that_is_too_late_is_an_expiry_and_does_not_stop_the_line() -> None:
    desk = Desk()
    first, late, third = desk.ticket(), desk.ticket(deadline_s=5.0), desk.ticket()
    desk.answer(late, 1.0)
    desk.answer(third, 1.0)
    desk.answer(first, 5.0)
    assert late.future.exception() is not None
    assert third.future.result() is ANSWER


async def test_a_held_answer_whose_request_ends_otherwise_is_held_no_longer() -> None:
    desk = Desk()
    first, leaves, third = desk.ticket(), desk.ticket(), desk.ticket()
    desk.answer(leaves)
    desk.fail(leaves)
    assert desk.order.held == 0
    desk.answer(third)
    desk.answer(first)
    assert third.future.result() is ANSWER


async def test_nothing_stays_behind() -> None:
    desk = Desk()
    for turn in range(100):
        ticket = desk.ticket(turn % 3)
        desk.answer(ticket) if turn % 2 else desk.fail(ticket)
    assert (desk.order._lines, desk.order._held) == ({}, {})
    desk.answer(desk.ticket()), desk.ticket(), desk.order.clear()
    assert (desk.order._lines, desk.order.held) == ({}, 0)
