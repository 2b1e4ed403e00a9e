"""A long time at a good part of what it can: memory, descriptors, threads stay, every request is counted (N1, N3).

The long form (`make soak`) takes half an hour and judges the slope of memory; the short one only the accounts, and that
nothing is opened that stays.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.tally import Body, Books
from tests.fault.test_swap_under_traffic import Golden
from tests.support.openloop import Connections, Outcome, drive
from tests.support.process import ServerProcess
from tests.wire.digits import DIGITS

SHARE = 0.7  # of the knee
KNEE_OF_CLOSED_LOOP = 0.8  # an open loop holds its tail up to about there
BESIDE_OTHERS = 0.4  # of that, in the short form: others may take the cores after the rate was found
AT_ONCE = 64  # connections, from the beginning: where the machine stalls, requests wait for one of them
OK, REFUSED = 200, 503
SLOPE_BYTES = 2**20  # in ten minutes
TEN_MINUTES_S = 600.0
SUCCESS, FAILURE = "nv_inference_request_success", "nv_inference_request_failure"
MOST_REFUSED = 0.01  # where others take the cores for a moment, what came meanwhile is too much at once
EVERY_S = 1.0  # a part of the traffic, and a look at the server


@dataclass(frozen=True, slots=True)
class Look:
    """The server at a moment of the soak."""

    at_s: float
    body: Body


@pytest.mark.parametrize(
    ("settle_s", "seconds", "judged"),
    [(1.0, 6.0, False), pytest.param(120.0, 1800.0, True, marks=[pytest.mark.slow, pytest.mark.timeout(2400)])],
    ids=["short", "full"],
)
async def test_nothing_grows_and_every_request_is_counted(
    tmp_path: Path, settle_s: float, seconds: float, judged: bool
) -> None:
    golden = Golden()
    with ServerProcess(["--repository", str(DIGITS.parent)], tmp_path) as server:
        rate_per_s = await a_good_rate(server.port, golden) * (1.0 if judged else BESIDE_OTHERS)
        books_before, before = await at_rest(server)
        before_it, _, _ = await soaked(server, golden, rate_per_s, settle_s)
        statuses, answers, looks = await soaked(server, golden, rate_per_s, seconds)
        books, after = await at_rest(server, before)

    statuses += before_it
    sent = statuses.total()
    slope = slope_bytes(looks)
    print(  # noqa: T201 - shown by `pytest -rP`, for docs/promises.md
        f"soak: {rate_per_s:.0f}/s for {seconds:.0f} s, {sent} sent and counted, {statuses[REFUSED]} of them refused, "
        f"slope {slope / 2**20:+.2f} MiB in ten minutes, descriptors {before.descriptors} -> {after.descriptors}, "
        f"threads {before.threads} -> {after.threads}, at rest {before.resident_bytes / 2**20:.1f} -> "
        f"{after.resident_bytes / 2**20:.1f} MiB; {told(looks)}"
    )
    assert set(statuses) <= {OK, REFUSED}
    assert statuses[REFUSED] <= MOST_REFUSED * sent
    assert books.value(SUCCESS) - books_before.value(SUCCESS) == statuses[OK]
    assert books.value(FAILURE) == books.value(FAILURE, reason="REJECTED") == statuses[REFUSED]
    assert {golden.version_of(answer) for answer in answers if answer.status == OK} == {"1"}
    assert holds(after) == holds(before)
    if judged:
        assert slope <= SLOPE_BYTES


async def at_rest(server: ServerProcess, like: Body | None = None) -> tuple[Books, Body]:
    """The server's books, and what it holds once the connections of its clients are gone, and it is `like` before."""
    books = Books(server.http.get("/metrics").text)
    fewest, end_s = Body.of(server.process.pid), time.monotonic() + (2 if like is None else 20)
    while time.monotonic() < end_s and (like is None or holds(fewest) != holds(like)):
        fewest = min(fewest, Body.of(server.process.pid), key=holds)
        await asyncio.sleep(0.05)
    return books, fewest


def holds(body: Body) -> tuple[int, int]:
    return body.descriptors, body.threads


async def a_good_rate(port: int, golden: Golden) -> float:
    """Requests a second: so much of what the machine gives a closed loop now."""
    count, began_s, connections = 0, time.perf_counter(), Connections(port, AT_ONCE)

    async def client() -> None:
        nonlocal count
        while time.perf_counter() - began_s < 2.0:
            assert (await connections.exchange(golden.request(count)))[0] == 200
            count += 1

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    connections.close()
    return SHARE * KNEE_OF_CLOSED_LOOP * count / (time.perf_counter() - began_s)


async def soaked(
    server: ServerProcess, golden: Golden, rate_per_s: float, seconds: float
) -> tuple[Counter[int], list[Outcome], list[Look]]:
    """Traffic for so long: how all of it was answered, the answers of the last part, and the server after each."""
    statuses: Counter[int] = Counter()
    looks, answers, began_s, connections = [], [], time.monotonic(), Connections(server.port, AT_ONCE)
    try:
        while time.monotonic() - began_s < seconds:
            answers = await drive(
                server.port,
                golden.request,
                rate_per_s=rate_per_s,
                count=int(rate_per_s * EVERY_S),
                connections=connections,
            )
            statuses.update(answer.status for answer in answers)
            looks.append(Look(time.monotonic() - began_s, Body.of(server.process.pid)))
    finally:
        connections.close()
    return statuses, answers, looks


def slope_bytes(looks: list[Look]) -> float:
    """Bytes of resident memory that ten minutes add, by least squares."""
    at_s, resident = [look.at_s for look in looks], [look.body.resident_bytes for look in looks]
    return float(np.polyfit(at_s, resident, 1)[0]) * TEN_MINUTES_S


def told(looks: list[Look]) -> str:
    """Resident memory at eight moments."""
    seen = [looks[at] for at in np.linspace(0, len(looks) - 1, 8).astype(int)]
    return ", ".join(f"{look.body.resident_bytes / 2**20:.1f} MiB" for look in seen)


def test_a_leak_is_seen() -> None:
    """The control: 2 MiB in ten minutes, under noise of half a MiB."""
    random = np.random.default_rng(0)

    def looks(grows_bytes: float) -> list[Look]:
        """Half an hour."""
        held = (2**27 + grows_bytes * s / TEN_MINUTES_S + random.normal(0, 2**19) for s in range(1800))
        return [Look(float(s), Body(int(one), 20, 10, 0)) for s, one in enumerate(held)]

    assert slope_bytes(looks(2 * SLOPE_BYTES)) > SLOPE_BYTES
    assert slope_bytes(looks(0)) < SLOPE_BYTES
