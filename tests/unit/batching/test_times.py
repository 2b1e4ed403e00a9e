"""Points in time: the soonest of an open ticket, and ended ones are forgotten."""

from __future__ import annotations

import math

from service.batching.times import Times


def test_the_soonest_of_an_open_ticket_counts() -> None:
    tickets = {1: None, 2: None, 3: None}
    times = Times(tickets)
    for at_s, number in ((5.0, 1), (3.0, 2), (4.0, 3)):
        times.add(at_s, number)
    del tickets[2]
    assert (times.next_s, times.pop(), times.next_s) == (4.0, 3, 5.0)
    tickets.clear()
    assert times.next_s == math.inf


def test_ended_tickets_are_swept() -> None:
    tickets: dict[int, None] = {}
    times = Times(tickets)
    for number in range(10_000):
        tickets[number] = None
        times.add(float(number), number)
        del tickets[number]
    assert len(times) < 200
