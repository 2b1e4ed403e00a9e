"""Filling and cutting: nothing further than the longest, everyone's own length back, and filler within bounds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.batcher import Batcher
from service.batching.contract import BatchConfig
from service.batching.curve import CostCurve
from service.batching.padding import LOOK_AHEAD, Padded, Pads
from service.batching.seams import BatcherSeams
from service.batching.ticket import Piece, Ticket
from service.core.contract import Arrays
from service.core.deadline import Deadline
from service.core.errors import RunFailed
from tests.fakes import Act, FakeEngine, Fault, ManualLoop, ManualThreads, RecordingObserver
from tests.unit.batching.bench import play

PADS = Pads(axis=1, fillers={"x": -9, "m": 0}, cuts={"long": (1,)}, max_waste=0.5, guarded=("m",))


def inputs(length: int, rows: int = 1, first: int = 1) -> dict[str, Any]:
    x = np.arange(first, first + rows * length, dtype=np.int64).reshape(rows, length)
    return {"x": x, "m": np.ones((rows, length), np.float32), "k": np.full((rows, 2), first)}


def piece(length: int, rows: int = 1, first: int = 1, rank: int = 0) -> Piece:
    given = inputs(length, rows, first)
    return Piece(Ticket(None, 0.0, 0.0, rank=rank), given, rows, Padded(PADS).key(given), False)  # type: ignore[arg-type]


def outputs_of(batch: Arrays) -> dict[str, Any]:
    return {"long": batch["x"][..., None] * 2, "sum": (batch["x"] * (batch["m"] > 0)).sum(axis=1, keepdims=True)}


def test_shorter_ones_are_filled_up_to_the_longest_and_no_further() -> None:
    batch = Padded(PADS).stack([piece(2), piece(4, 2, first=10), piece(1, first=50)])
    assert batch["x"].tolist() == [[1, 2, -9, -9], [10, 11, 12, 13], [14, 15, 16, 17], [50, -9, -9, -9]]
    assert batch["m"].tolist() == [[1, 1, 0, 0], [1] * 4, [1] * 4, [1, 0, 0, 0]]
    assert batch["k"].tolist() == [[1, 1], [10, 10], [10, 10], [50, 50]]
    assert (batch["x"].dtype, batch["m"].dtype) == (np.int64, np.float32)


def test_everyone_gets_his_own_length_back_in_memory_of_his_own() -> None:
    pieces = [piece(2), piece(4, 2, first=10), piece(1, first=50)]
    padded = Padded(PADS)
    outputs = outputs_of(padded.stack(pieces))
    parts = padded.split(outputs, pieces)
    for each, part in zip(pieces, parts, strict=True):
        np.testing.assert_array_equal(part["long"][..., 0], each.inputs["x"] * 2)
        np.testing.assert_array_equal(part["sum"], each.inputs["x"].sum(axis=1, keepdims=True))
    parts[0]["long"][:] = 0
    assert outputs["long"].all()


def test_a_lone_request_and_equal_lengths_are_not_filled() -> None:
    padded, lone, mate = Padded(PADS), piece(3), piece(3, first=7)
    assert padded.stack([lone]) is lone.inputs
    assert padded.stack([lone, mate])["x"].shape == (2, 3)
    outputs = outputs_of(lone.inputs)
    assert padded.split(outputs, [lone]) == [outputs]


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 5, 1), (2,)])
def test_an_output_that_is_not_as_long_as_the_batch_fails_the_run(shape: tuple[int, ...]) -> None:
    with pytest.raises(RunFailed, match=r"output 'long' has shape .* for a batch of length 4"):
        Padded(PADS).split({"long": np.zeros(shape)}, [piece(4), piece(1)])


def test_an_output_without_a_row_for_each_row_fails_the_run() -> None:
    with pytest.raises(RunFailed, match="for a batch of 2 rows"):
        Padded(PADS).split({"long": np.zeros((3, 4, 1))}, [piece(4), piece(1)])


def test_lengths_share_a_key_and_all_else_must_be_equal() -> None:
    key = Padded(PADS).key
    assert key(inputs(2)) == key(inputs(5, rows=3))
    assert key(inputs(2)) != key({**inputs(2), "k": np.zeros((1, 3), np.int64)})
    assert key(inputs(2)) != key({**inputs(2), "x": np.zeros((1, 2), np.int32)})


@pytest.mark.parametrize(
    "odd",
    [
        {**inputs(2), "m": np.ones((1, 3), np.float32)},
        inputs(0),
        {**inputs(2), "m": np.zeros((1, 2), np.float32)},
        {**inputs(2, 2), "m": np.float32([[1, 0], [0, 0]])},
    ],
    ids=["lengths differ", "nothing", "a mask of filler", "one row's mask of filler"],
)
def test_what_is_not_proven_keeps_to_its_own_length(odd: dict[str, Any]) -> None:
    key = Padded(PADS).key
    longer = {name: np.concatenate([array, array], axis=1) for name, array in odd.items()}
    assert key(odd) == key(dict(odd)) != key(inputs(2))
    assert key(odd) != key(longer) or odd["x"].size == 0


def chosen(padded: Padded, lengths: list[int], rows: int) -> list[int]:
    pieces = [piece(length) for length in lengths]
    return [pieces.index(taken) for taken in padded.choose(iter(pieces), rows)]


@pytest.mark.parametrize(
    ("lengths", "rows", "taken"),
    [
        ([4, 4, 4], 2, [0, 1]),
        ([4, 2, 4], 8, [0, 2, 1]),
        ([4, 1, 6, 3, 4], 3, [0, 4, 3]),  # the nearest first
        ([8, 1, 8], 8, [0, 2, 1]),  # 7 of 24 cells are filler
        ([9, 1, 1, 1], 8, [0, 1]),  # 16 of 27 would be
        ([1, 9, 1], 8, [0, 2]),  # 16 of 27 again
        ([100], 0, [0]),  # the first always
    ],
)
def test_the_nearest_in_length_are_taken_unless_too_much_would_be_filler(
    lengths: list[int], rows: int, taken: list[int]
) -> None:
    assert chosen(Padded(PADS), lengths, rows) == taken


def test_a_better_rank_goes_before_a_nearer_length() -> None:
    pieces = [piece(4), piece(4, rank=2), piece(6)]
    assert Padded(PADS).choose(pieces, 2) == [pieces[0], pieces[2]]


def test_a_piece_that_does_not_fit_leaves_its_room_to_others() -> None:
    pieces = [piece(4), piece(4, 3), piece(5)]
    assert Padded(PADS).choose(pieces, 3) == [pieces[0], pieces[2]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 12), st.sampled_from([0.0, 0.2, 0.9]))
def test_filler_stays_within_its_share_and_the_first_is_always_taken(
    lengths: list[int], rows: int, most: float
) -> None:
    taken = chosen(Padded(Pads(1, {"x": 0}, {}, most)), lengths, rows)
    assert taken[0] == 0 and len(taken) == len(set(taken)) <= rows
    real = sum(lengths[index] for index in taken)
    whole = len(taken) * max(lengths[index] for index in taken)
    assert whole - real <= most * whole + 1e-9


def test_only_so_many_are_looked_at() -> None:
    looked: list[int] = []

    def pieces() -> Any:
        for n in range(10_000):
            looked.append(n)
            yield piece(n % 7 + 1)

    assert len(Padded(PADS).choose(pieces(), 32)) == 32
    assert len(looked) == LOOK_AHEAD


class Summing(FakeEngine):
    """Answers as `outputs_of`, and keeps what it saw."""

    def __init__(self, *acts: Act) -> None:
        super().__init__(acts)
        self.shapes: list[tuple[int, ...]] = []

    def compute(self, arrays: Arrays, fault: Fault) -> Any:
        self.shapes.append(arrays["x"].shape)
        return outputs_of(arrays)


def test_through_the_batcher_lengths_share_runs_and_split_requests_are_whole_again() -> None:
    async def story(loop: ManualLoop) -> None:
        engine = Summing(Act(1.0), Act(0.1))
        batcher = Batcher(
            [engine],
            BatchConfig(max_rows=4),
            CostCurve(4),
            clock=loop.clock,
            observer=RecordingObserver(),
            replace=None,
            on_fatal=print,
            run_timeout_s=10.0,
            stacking=Padded(replace(PADS, max_waste=0.4)),
            seams=BatcherSeams(ManualThreads(loop)),
        )
        batcher.start()
        asked = [
            inputs(3),
            inputs(5, first=20),
            inputs(4, rows=6, first=40),
            inputs(2, first=80),
            inputs(90, first=90),
        ]
        first = asyncio.ensure_future(batcher.submit(inputs(1), 1, Deadline.never()))
        await asyncio.sleep(0.1)
        answers = await asyncio.gather(*(batcher.submit(each, len(each["x"]), Deadline.never()) for each in asked))
        for each, answer in zip(asked, answers, strict=True):
            np.testing.assert_array_equal(answer.outputs["long"][..., 0], each["x"] * 2)
            np.testing.assert_array_equal(answer.outputs["sum"], each["x"].sum(axis=1, keepdims=True))
        await first
        assert sum(rows for rows, _ in engine.shapes) == 11
        assert len(engine.shapes) < 1 + len(asked) + 1  # lengths were mixed
        assert (1, 90) in engine.shapes  # far longer than the others: alone
        await batcher.close(drain=True)

    play(story)
