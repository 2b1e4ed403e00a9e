"""Swaps under load: the same requests, which name no version, with the model left alone and with it swapped meanwhile.

An answer is right when it is what the version that it names gives; anything else is a mixed answer, and counted wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from loadtests.comparison import Contender
from loadtests.contenders import Field, pool_of
from loadtests.disturbances import Mark, swap, swapping
from loadtests.measures.summary import Summary
from loadtests.order import Order
from loadtests.outcome import Entry
from loadtests.pools import Pool
from loadtests.scenario import Swapping
from loadtests.server import CannotLoad, Server
from loadtests.verdict import Versus, times

ALONE, SWAPPED = "left alone", "swapped"


def left_alone_and_swapped(field: Field, order: Order, how: Swapping, marks: list[Mark]) -> Field:
    """The two that are compared in place of the versions; each swap leaves a mark.

    Raises:
        CannotLoad: there are not two versions at one server that swaps.
    """
    server = field.contenders[0].server
    versions = tuple(dict.fromkeys(one.version for one in field.contenders))
    if len(versions) < 2 or any(one.server is not server for one in field.contenders):
        raise CannotLoad("swaps need two versions at one server.")
    if active(server, order.model) is None:
        raise CannotLoad(f"{server.url} does not tell which version of {order.model} is active: it swaps none.")
    alone = Contender(ALONE, server, order.model, "", _pool(field, order))
    during = partial(swapping, server, order.model, versions, how, marks)
    contenders = (alone, replace(alone, label=SWAPPED, during=during))
    entries = (Entry(ALONE, server.url, ""), Entry(SWAPPED, server.url, "", full=ALONE))
    return Field(contenders, entries, field.rows)


@contextmanager
def put_back(server: Server, model: str) -> Iterator[None]:
    """Makes the version active again in the end that was so before."""
    before = active(server, model)
    try:
        yield
    finally:
        if before is not None and active(server, model) != before:
            with server.client() as http:
                swap(http, model, before)


def active(server: Server, model: str) -> str | None:
    """The active version's id; None where the server does not tell."""
    return next((str(told["version"]) for told in server.summaries(model) if told.get("active")), None)


def sentence(found: Versus, own: Summary, marks: Sequence[Mark]) -> str:
    """What swaps did to the traffic."""
    done = sum(mark.done for mark in marks)
    wrong = own.errors.get("wrong answer", 0)
    failed = sum(own.errors.values()) - wrong
    tail = (
        "too few answers to tell of a p99" if found.p99 is None else f"p99 {times(found.p99)} of the model left alone"
    )
    return (
        f"{done} of {len(marks)} swaps were done under {own.requests} requests: {failed} failed, {wrong} were answered "
        f"wrongly; {tail} ({found.difference})"
    )


def problems(marks: Sequence[Mark]) -> tuple[str, ...]:
    """Why the traffic met no swap, in a sentence; empty where it did, or none was tried."""
    if not marks or any(mark.done for mark in marks):
        return ()
    return (f"No swap was done: the last one was the {marks[-1].text}.",)


def _pool(field: Field, order: Order) -> Pool:
    one = field.contenders[0]
    answers = {each.version: each.pool.rows.expected or {} for each in field.contenders}
    rows = replace(one.pool.rows, expected=None)
    return replace(pool_of(order, one.server, "", rows, one.pool.signature), answers=answers)
