"""A watch reverts on the version's own failures, and on nothing else."""

import asyncio

import pytest

from service.observe.statistics import VersionStatistics
from service.serving.failures import BACKEND, CANCELED, OTHER, REJECTED
from service.serving.watch import Tally, Watches, exceeds_within
from tests.unit.serving.house import until


class Spent:
    queue_ns = input_ns = infer_ns = output_ns = 1


def statistics(answered: int = 0, **failed: int) -> VersionStatistics:
    counts = VersionStatistics("m", "2")
    add(counts, answered, **failed)
    return counts


def add(counts: VersionStatistics, answered: int = 0, **failed: int) -> None:
    for _ in range(answered):
        counts.request_done(1, Spent())
    for reason, count in failed.items():
        for _ in range(count):
            counts.request_failed(reason, 1)


@pytest.mark.parametrize(
    ("answered", "failed", "rate", "least", "exceeded"),
    [
        (99, 1, 0.01, 20, False),
        (98, 2, 0.01, 20, True),
        (0, 19, 0.01, 20, False),
        (0, 19, 0.01, 1, True),
        (0, 0, 0.0, 0, False),
        (100, 0, 0.0, 1, False),
        (10, 10, 0.5, 1, False),
    ],
)
def test_when_the_rate_is_exceeded(answered: int, failed: int, rate: float, least: int, exceeded: bool) -> None:
    assert Tally(answered, failed).exceeds(rate, least_requests=least) is exceeded


async def test_failures_from_before_do_not_count() -> None:
    assert await exceeds_within(statistics(0, BACKEND=50), 0.01, 0.01) is None


async def test_many_failures_end_the_watch_early() -> None:
    counts = statistics()
    asyncio.get_running_loop().call_later(0.01, lambda: add(counts, 10, **{BACKEND: 30}))
    assert await asyncio.wait_for(exceeds_within(counts, 60, 0.01), 20) == Tally(10, 30)


async def test_few_failures_are_judged_at_the_end() -> None:
    counts = statistics()
    asyncio.get_running_loop().call_soon(lambda: add(counts, 1, **{BACKEND: 2}))
    assert await exceeds_within(counts, 0.05, 0.5) == Tally(1, 2)


@pytest.mark.parametrize("reason", [CANCELED, OTHER, REJECTED])
async def test_what_is_not_the_versions_fault_never_counts(reason: str) -> None:
    counts = statistics()
    asyncio.get_running_loop().call_soon(lambda: add(counts, 1, **{reason: 100}))
    assert await exceeds_within(counts, 0.05, 0.01) is None


async def test_a_new_watch_ends_the_old_one_and_stop_ends_all() -> None:
    watches, counts, reverted = Watches(), statistics(), []

    async def revert(tally: Tally) -> None:
        reverted.append(tally)

    watches.start("m", counts, 0.05, 0.0, revert)
    watches.start("m", counts, 0.05, 0.0, revert)
    await asyncio.sleep(0)
    add(counts, **{BACKEND: 5})
    await until(lambda: bool(reverted))
    await asyncio.sleep(0.1)
    assert reverted == [Tally(0, 5)]
    watches.start("m", counts, 0.05, 0.0, revert)
    await asyncio.sleep(0)
    add(counts, **{BACKEND: 5})
    watches.stop_all()
    watches.stop("unknown")
    await asyncio.sleep(0.2)
    assert len(reverted) == 1
