"""Everything at once, and at the end nothing is left of it (`make chaos`).

Good, bad, slow, abandoned and huge requests, swaps, broken versions, loads, unloads and kills of models' processes go
on together; then every gauge is 0, every count adds up, memory, descriptors and threads are back, and one good request
works.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import world
from tests.chaos.clients import Clients
from tests.chaos.operators import Operators
from tests.chaos.strays import Strays
from tests.chaos.tally import Body, Books, Tally
from tests.support.process import ServerProcess

SEED = 20
GROWN_BYTES = 48 * 2**20
MOST_TURNED_AWAY = 0.02  # of all: two greedy ones at once fill the queue of a machine that does other work
FEW = 2  # of what comes and goes by itself: a connection to scrape, a thread of a pool
CALM_S = 15.0  # for what was begun to end
GAUGES = ("nv_inference_pending_request_count", "retort_sequences_open")


@dataclass(frozen=True, slots=True)
class Habit:
    """Something that is done again and again: so many times a second, at random moments."""

    act: Callable[[], Awaitable[None]]
    rate_per_s: float


@pytest.mark.parametrize(
    ("warm_up_s", "seconds"),
    [(4.0, 12.0), pytest.param(30.0, 600.0, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
    ids=["short", "full"],
)
async def test_at_the_end_nothing_is_left_of_it(tmp_path: Path, warm_up_s: float, seconds: float) -> None:
    repository = world.build(tmp_path / "repository")
    with ServerProcess(["--repository", str(repository)], tmp_path) as server:
        tally = Tally()
        await rage(server, tally, warm_up_s, SEED)
        await calm_down(server, tally)
        before = Body.of(server.process.pid)
        await rage(server, tally, seconds, SEED + 1)
        await calm_down(server, tally)
        await one_good_request(server, tally)
        books = await calm_down(server, tally)
        after = Body.of(server.process.pid)
        print(told(tally, before, after))  # noqa: T201 - shown by `pytest -rP`, for docs/promises.md
        assert not tally.complaints, "\n".join(tally.complaints[:20])
        assert tally.turned_away <= MOST_TURNED_AWAY * sum(tally.sent.values())
        check_accounts(tally, books)
        assert after.descriptors <= before.descriptors + FEW
        assert after.threads <= before.threads + FEW
        assert after.children <= before.children
        assert after.resident_bytes - before.resident_bytes <= GROWN_BYTES
        assert "Traceback" not in server.log(), server.log()[-4000:]


async def rage(server: ServerProcess, tally: Tally, seconds: float, seed: int) -> None:
    """All habits at once, for so long; returns when everybody has their answer or has left."""
    clients = Clients(server.url, server.grpc, tally, seed)
    strays = Strays(server.port, tally, seed)
    operators = Operators(server.url, server.process.pid, tally, seed)
    habits = (
        Habit(clients.good, 40),
        Habit(clients.good_call, 20),
        Habit(clients.visit, 10),
        Habit(clients.isolated, 10),
        Habit(clients.bad, 10),
        Habit(clients.greedy, 0.5),
        Habit(clients.too_greedy, 0.1),
        Habit(strays.leave, 4),
        Habit(strays.break_off, 4),
        Habit(strays.dawdle, 1),
        Habit(strays.keep_silent, 1),
        Habit(operators.swap, 2),
        Habit(operators.roll_back, 0.5),
        Habit(operators.break_in, 0.5),
        Habit(operators.load, 1),
        Habit(operators.unload, 0.5),
        Habit(operators.kill, 0.3),
        Habit(operators.look, 2),
    )
    chosen = random.Random(seed)
    end_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as everybody:
        for habit in habits:
            everybody.create_task(indulge(habit, end_s, random.Random(chosen.random()), everybody))
    await clients.close()
    await operators.close()


async def indulge(habit: Habit, end_s: float, chosen: random.Random, everybody: asyncio.TaskGroup) -> None:
    """Does it at random moments (Poisson), without waiting for the last time to end."""
    while True:
        await asyncio.sleep(min(chosen.expovariate(habit.rate_per_s), max(0.0, end_s - time.monotonic())))
        if time.monotonic() >= end_s:
            return
        everybody.create_task(habit.act())


async def one_good_request(server: ServerProcess, tally: Tally) -> None:
    """It is answered, and rightly; `tally` complains where it is not."""
    clients, before = Clients(server.url, server.grpc, tally, SEED), tally.right[world.SWAPPED]
    await clients.good()
    await clients.close()
    assert tally.right[world.SWAPPED] == before + 1, tally.complaints


async def calm_down(server: ServerProcess, tally: Tally) -> Books:
    """The server's books once nothing is under way any more; fails if something stays."""
    end_s = time.monotonic() + CALM_S
    while True:
        books = Books(server.http.get("/metrics").text)
        tally.answered(200)
        waiting = {gauge: books.value(gauge) for gauge in GAUGES}
        if not any(waiting.values()):
            return books
        assert time.monotonic() < end_s, f"long after the last client left: {waiting}"
        await asyncio.sleep(0.2)


def check_accounts(tally: Tally, books: Books) -> None:
    """What clients saw is what the server counted; whoever did not look may account for the rest, and no more."""
    for model in (world.SWAPPED, world.VISITOR, world.ISOLATED):
        assert books.value("nv_inference_request_success", model=model) == tally.right[model]
    assert books.by("retort_grpc_calls", "code")["OK"] == tally.calls["OK"]
    counted = books.by("retort_http_responses", "code")
    seen = Counter({str(status): count for status, count in tally.answers.items()})
    seen["200"] -= 1  # the answer that holds these books was not in them yet
    unseen = {status: counted[status] - seen[status] for status in counted | seen}
    assert min(unseen.values()) >= 0, unseen
    assert sum(unseen.values()) <= tally.left, unseen


def told(tally: Tally, before: Body, after: Body) -> str:
    """The figures of a run."""
    grown = (after.resident_bytes - before.resident_bytes) / 2**20
    return (
        f"chaos: {sum(tally.sent.values())} requests {dict(tally.sent)}, HTTP {dict(sorted(tally.answers.items()))}, "
        f"{tally.turned_away} turned away, {tally.left} left unread, resident {grown:+.1f} MiB, "
        f"descriptors {before.descriptors} -> {after.descriptors}, threads {before.threads} -> {after.threads}"
    )
