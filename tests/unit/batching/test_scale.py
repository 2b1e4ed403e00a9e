"""What one request more costs is the same behind ten that wait and behind ten thousand.

In processor time of this process, the least of some rounds, with a wide margin: 3 where what is linear would be 1,000.
`tests.bench.scale` measures the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from service.batching.line import Line
from service.batching.ticket import Piece
from tests.bench.scale.waiting import STEPS, answered_us, cost_us

FEW, MANY = 10, 10_000
MARGIN = 3.0
ROUNDS = 2
TRIES = 5


Cost = Callable[[int], Awaitable[float]]


async def growth(cost: Cost) -> float:
    """How many times as much one costs behind many as behind few, measured by turns."""
    rounds = [(await cost(FEW), await cost(MANY)) for _ in range(ROUNDS)]
    few, many = (min(costs) for costs in zip(*rounds, strict=True))
    return many / few


async def shown(cost: Cost, what: Callable[[float], bool]) -> bool:
    """Whether that is so of its growth in one of some measurements: other work on the machine may spoil the others."""
    for _ in range(TRIES):
        if what(await growth(cost)):
            return True
    return False


def stays(growth: float) -> bool:
    return growth < MARGIN


def grows(growth: float) -> bool:
    return growth > MARGIN


@pytest.mark.parametrize("step", STEPS)
async def test_one_more_costs_the_same_however_many_wait(step: str) -> None:
    assert await shown(partial(cost_us, step), stays)


async def test_running_and_answering_one_costs_the_same_however_many_came_with_it() -> None:
    assert await shown(answered_us, stays)


async def test_a_line_that_is_walked_along_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a queue that looks at everyone whenever somebody joins."""
    join = Line.join

    def walk(self: Line, piece: Piece) -> None:
        for _other in self:
            pass
        join(self, piece)

    monkeypatch.setattr(Line, "join", walk)
    monkeypatch.setattr("tests.unit.batching.test_scale.MANY", 2000)  # quadratic to fill
    assert await shown(partial(cost_us, "let in"), grows)
