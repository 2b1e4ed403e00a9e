"""Who comes alone is run at once; who comes together is gathered, from the second of a turn on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.batching.batcher import Batcher
from service.batching.contract import Answer, BatcherSnapshot
from service.batching.lone import ENOUGH
from service.batching.seams import BatcherSeams
from service.core.deadline import Deadline
from service.core.errors import NotReady, RunFailed
from tests.unit.batching.on_loop import Where, started

INLINE_S = 0.5


async def ask(batcher: Batcher, value: float = 1.0, rows: int = 1) -> Answer:
    return await batcher.submit({"x": np.full((rows, 2), value)}, rows, Deadline.never())


async def at_once(batcher: Batcher) -> bool:
    """Whether a request is answered without a turn of the loop."""
    request = ask(batcher)
    try:
        request.send(None)
    except StopIteration:
        return True
    request.close()
    await asyncio.sleep(0)
    return False


async def one_by_one(batcher: Batcher, requests: int = ENOUGH) -> None:
    await asyncio.sleep(0)  # what the start wakes
    for number in range(requests):
        assert (await ask(batcher, number)).outputs["y"].tolist() == [[2.0 * number, 2.0 * number]]
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("inline_limit_s", "max_delay_s", "requests", "expected"),
    [
        (INLINE_S, 0.0, ENOUGH, True),
        (INLINE_S, 0.0, ENOUGH - 1, False),
        (0.0, 0.0, ENOUGH, False),  # runs on a thread: what comes while it is on its way could be in it
        (INLINE_S, 0.001, ENOUGH, False),  # whoever sets a delay wants to wait for others
    ],
)
async def test_after_some_that_came_alone_the_next_is_answered_in_its_own_turn(
    inline_limit_s: float, max_delay_s: float, requests: int, expected: bool
) -> None:
    batcher = started(Where(), inline_limit_s, max_delay_s)
    await one_by_one(batcher, requests)
    assert await at_once(batcher) is expected
    await batcher.close(drain=True)


async def test_the_second_of_a_turn_ends_it_and_is_gathered_with_the_rest() -> None:
    batcher = started(engine := Where(), INLINE_S)
    await one_by_one(batcher)
    engine.rows.clear()
    answers = await asyncio.gather(*(ask(batcher, float(value)) for value in range(5)))
    assert [answer.outputs["y"][0, 0] for answer in answers] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert engine.rows == [1, 4]
    assert await at_once(batcher) is False
    await batcher.close(drain=True)


async def test_a_crowd_is_gathered_as_ever() -> None:
    batcher = started(engine := Where(), INLINE_S)
    for _ in range(2 * ENOUGH):
        await asyncio.gather(*(ask(batcher) for _ in range(4)))
    assert set(engine.rows) == {4}
    await batcher.close(drain=True)


async def test_a_large_request_runs_in_parts_between_which_the_loop_turns() -> None:
    batcher = started(engine := Where(), INLINE_S)
    await one_by_one(batcher)
    engine.rows.clear()
    answer = asyncio.ensure_future(ask(batcher, rows=8))
    turns = 0
    while not answer.done():
        turns += 1
        await asyncio.sleep(0)
    assert (engine.rows, turns > 2) == ([4, 4], True)
    await batcher.close(drain=True)


async def test_a_run_that_fails_fails_its_own_request() -> None:
    batcher = started(engine := Where(), INLINE_S)
    await one_by_one(batcher)
    engine.fails = True
    with pytest.raises(RunFailed):
        await ask(batcher)
    engine.fails = False
    assert (await ask(batcher)).outputs["y"].shape == (1, 2)
    assert batcher.snapshot() == BatcherSnapshot(0, 0, 0, 1, 0, healthy=True)
    await batcher.close(drain=True)


async def test_a_crash_while_it_is_begun_fails_the_request_and_is_seen() -> None:
    broken = False

    def on_pump() -> None:
        if broken:
            raise ZeroDivisionError

    batcher = started(Where(), INLINE_S, seams=BatcherSeams(on_pump=on_pump))
    await one_by_one(batcher)
    broken = True
    with pytest.raises(NotReady):
        await ask(batcher)
    assert (batcher.healthy, batcher.pending) == (False, 0)
    await batcher.close(drain=False)
