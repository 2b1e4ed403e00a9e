"""Runs of one size cost the same; where clients choose shapes, a size is known once a run of it came back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from service.batching.batch import PLAIN, Stacking
from service.batching.batcher import Batcher
from service.batching.contract import CloseReason
from service.batching.costs import SIZES_LIMIT, TEXTS_LIMIT, Costs, ShapeCosts, round_up
from service.batching.curve import CostCurve
from service.batching.padding import Padded, Pads
from service.batching.quick import NEAR
from service.batching.run import Run
from service.batching.ticket import Ticket, cut
from service.core.contract import Arrays
from service.core.deadline import Deadline
from tests.unit.batching.on_loop import Where, started

PADDED = Padded(Pads(1, {"x": 0}, {}, max_waste=1.0))
LIMIT_S = 0.5


async def run(*requests: Arrays, rows: int | None = 1, seconds: float = 0.0, stacking: Stacking = PLAIN) -> Run:
    """One of some requests, each of so many rows, that took so long."""
    loop = asyncio.get_running_loop()
    tickets = [Ticket(loop.create_future(), 0.0, np.inf) for _ in requests]
    for ticket, inputs in zip(tickets, requests, strict=True):
        cut(ticket, inputs, rows, max_rows=8, alone=False)
    made = Run([piece for ticket in tickets for piece in ticket.pieces], CloseReason.FULL, stacking)
    made.started_s, made.ended_s = 1.0, 1.0 + seconds
    return made


def x(*shape: int) -> Arrays:
    return {"x": np.zeros(shape, np.float32)}


def text(*words: str) -> Arrays:
    return {"x": np.array([[word] for word in words], object)}


@pytest.mark.parametrize(
    ("number", "rounded"),
    [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 8), (9, 12), (13, 16), (49, 64), (97, 128)],
)
def test_numbers_are_rounded_up_by_less_than_a_half(number: int, rounded: int) -> None:
    assert round_up(number) == rounded


async def test_where_rows_alone_vary_the_curve_knows_the_cost() -> None:
    curve = CostCurve(8)
    curve.observe(1, 1.0)
    costs = Costs(curve)
    assert costs.predict_s(await run(x(1, 2))) == 1.0
    costs.observe(await run(x(1, 2), x(1, 2), seconds=4.0))
    assert costs.predict_s(await run(x(1, 7), x(1, 7))) == curve.predict_s(2) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("ran", "asked", "alike"),
    [
        ([x(1, 10)], [x(1, 10)], True),
        ([x(1, 10)], [x(1, 12)], True),
        ([x(1, 10)], [x(1, 13)], False),
        ([x(1, 10)], [x(1, 8)], False),
        ([x(1, 10, 1)], [x(1, 1, 10)], False),
        ([x(1, 10)], [x(1, 10), x(1, 10)], False),
        ([text("a" * 10)], [text("b" * 11)], True),
        ([text("a" * 10)], [text("b" * 1000)], False),
        ([text("a"), text("a" * 20)], [text("a" * 20), text("a")], True),
        ([text("a"), text("a")], [text("a"), text("a" * 20)], False),
    ],
)
async def test_runs_of_one_size_are_alike_in_rows_shapes_and_length_of_text(
    ran: list[Arrays], asked: list[Arrays], alike: bool
) -> None:
    costs = ShapeCosts(curve := CostCurve(8), PLAIN)
    curve.observe(1, 9.0)
    costs.observe(await run(*ran, seconds=2.0))
    assert costs.predict_s(await run(*asked)) == (pytest.approx(2.0) if alike else 0.0)


async def test_without_a_batch_axis_the_first_axis_counts_like_any_other() -> None:
    costs = ShapeCosts(CostCurve(8), PLAIN)
    costs.observe(await run(x(4), rows=None, seconds=2.0))
    assert costs.predict_s(await run(x(4), rows=None)) == pytest.approx(2.0)
    assert costs.predict_s(await run(x(400), rows=None)) == 0.0


async def test_a_batch_with_filler_is_as_long_as_its_longest() -> None:
    costs = ShapeCosts(CostCurve(8), PADDED)
    costs.observe(await run(x(1, 2), x(1, 100), seconds=2.0, stacking=PADDED))
    assert costs.predict_s(await run(x(1, 100), x(1, 90))) == pytest.approx(2.0)
    assert costs.predict_s(await run(x(1, 2), x(1, 2))) == 0.0


async def test_one_late_run_says_little_and_many_say_it_all() -> None:
    costs = ShapeCosts(CostCurve(8), PLAIN)
    for seconds in (1.0, 1000.0):
        costs.observe(await run(x(1, 10), seconds=seconds))
    assert costs.predict_s(await run(x(1, 10))) == pytest.approx(1.6)
    for _ in range(100):
        costs.observe(await run(x(1, 10), seconds=50.0))
    assert costs.predict_s(await run(x(1, 10))) == pytest.approx(50.0, rel=0.01)


async def test_clients_who_send_ever_new_shapes_fill_no_memory() -> None:
    costs = ShapeCosts(CostCurve(8), PLAIN)
    made = await run(x(1, 1))
    for number in range(3 * SIZES_LIMIT):
        made.pieces[0].inputs = x(1, *(1 << (number >> bit & 1) for bit in range(12)))
        costs.observe(made)
    assert len(costs._seconds) <= SIZES_LIMIT


class Uncounted(str):
    """A text whose length nobody may ask for."""

    __slots__ = ()

    def __len__(self) -> int:
        raise AssertionError("it was counted")


async def test_so_many_texts_that_to_count_them_takes_long_are_not_counted_and_never_come_to_the_loop() -> None:
    costs = ShapeCosts(CostCurve(8), PLAIN)
    few, many = ({"x": np.array([["a"] * count], object)} for count in (TEXTS_LIMIT, TEXTS_LIMIT + 1))
    for texts, expected in ((few, 1.0), (many, 0.0)):
        costs.observe(made := await run(texts, seconds=1.0))
        assert costs.predict_s(made) == costs.lone_s(made.pieces[0]) == expected
    uncounted = {"x": np.full((1, TEXTS_LIMIT + 1), Uncounted("a"), object)}
    costs.observe(made := await run(uncounted, seconds=1.0))
    assert costs.predict_s(made) == 0.0
    together = await run(few, few, seconds=1.0)
    costs.observe(together)
    assert costs.predict_s(together) == 0.0


async def ask(batcher: Batcher, length: int) -> None:
    await batcher.submit(x(1, length), 1, Deadline.never())


async def test_a_run_of_a_new_shape_leaves_the_loop_and_the_next_of_it_does_not() -> None:
    batcher = started(engine := Where(), LIMIT_S, shapes_vary=True)
    here = threading.get_ident()
    for length in (5, 100):
        engine.threads.clear()
        await ask(batcher, length)
        assert here not in engine.threads
        engine.threads.clear()
        await ask(batcher, length)
        assert engine.threads == {here}
    await batcher.close(drain=True)


async def test_control_where_rows_alone_vary_the_first_run_is_on_the_loop() -> None:
    batcher = started(engine := Where(), LIMIT_S)
    await ask(batcher, 5)
    assert engine.threads == {threading.get_ident()}
    await batcher.close(drain=True)


class Slow(Where):
    """Takes longer than may be on the loop where `x` is long."""

    limit_s = 0.01

    def run(self, arrays: Arrays) -> dict[str, Any]:
        if arrays["x"].shape[1] > 50:
            threading.Event().wait(1.1 * NEAR * self.limit_s)
        return super().run(arrays)


async def test_a_shape_that_takes_long_never_comes_to_the_loop_and_others_do() -> None:
    batcher = started(engine := Slow(), Slow.limit_s, shapes_vary=True)
    here = threading.get_ident()
    for _ in range(3):
        engine.threads.clear()
        await ask(batcher, 100)
        assert here not in engine.threads
    await ask(batcher, 5)
    await ask(batcher, 5)
    assert here in engine.threads
    await batcher.close(drain=True)
