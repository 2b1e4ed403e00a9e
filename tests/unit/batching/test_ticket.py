"""Tickets are cut into pieces that fit, and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.batching.ticket import Ticket, cut, enter, signature
from service.core.errors import RunFailed
from tests.fakes import ids


def cut_of(inputs: dict[str, Any], rows: int | None, *, max_rows: int = 4, alone: bool = False) -> Ticket:
    ticket = Ticket(future=None, arrived_s=0.0, deadline_s=0.0)  # type: ignore[arg-type]
    cut(ticket, inputs, rows, max_rows=max_rows, alone=alone)
    return ticket


def test_a_request_that_fits_is_one_piece_of_its_own_arrays() -> None:
    inputs = ids(0, 4)
    ticket = cut_of(inputs, 4)
    assert [piece.inputs for piece in ticket.pieces] == [inputs]
    assert ticket.pieces[0].inputs["x"] is inputs["x"]
    assert (ticket.missing, ticket.pieces[0].weight) == (1, 4)


def test_an_oversize_request_is_cut_into_views() -> None:
    inputs = ids(0, 10)
    ticket = cut_of(inputs, 10)
    assert [piece.rows for piece in ticket.pieces] == [4, 4, 2]
    assert all(np.shares_memory(piece.inputs["x"], inputs["x"]) for piece in ticket.pieces)
    assert np.array_equal(np.concatenate([piece.inputs["x"] for piece in ticket.pieces]), inputs["x"])
    assert ticket.missing == 3


@pytest.mark.parametrize(("rows", "alone"), [(None, False), (0, False), (2, True)])
def test_who_runs_alone_has_a_key_of_its_own(rows: int | None, alone: bool) -> None:
    inputs = ids(0, rows or 0)
    one, two = cut_of(inputs, rows, alone=alone).pieces[0], cut_of(inputs, rows, alone=alone).pieces[0]
    assert one.alone
    assert one.key != two.key


def test_without_a_batch_axis_nothing_is_cut() -> None:
    ticket = cut_of(ids(0, 100), None)
    assert [(piece.rows, piece.weight) for piece in ticket.pieces] == [(None, 1)]


def test_the_pieces_of_a_suspect_run_alone_each() -> None:
    pieces = cut_of(ids(0, 10), 10, alone=True).pieces
    assert len({piece.key for piece in pieces}) == 3


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"x": np.zeros((1, 3))}, {"x": np.zeros((5, 3))}, True),
        ({"x": np.zeros((1, 3))}, {"x": np.zeros((1, 4))}, False),
        ({"x": np.zeros((1, 3))}, {"x": np.zeros((1, 3, 1))}, False),
        ({"x": np.zeros((1, 3))}, {"x": np.zeros((1, 3), np.float32)}, False),
        ({"x": np.zeros((1, 3))}, {"y": np.zeros((1, 3))}, False),
        ({"x": np.zeros((1, 3))}, {"x": np.zeros((1, 3)), "y": np.zeros((1, 3))}, False),
        ({"x": np.zeros(1), "y": np.ones((1, 2))}, {"y": np.ones((4, 2)), "x": np.zeros(4)}, True),
        ({"x": np.zeros(1), "y": np.ones((1, 2))}, {"y": np.ones((4, 3)), "x": np.zeros(4)}, False),
        ({"x": np.array([b"a"], object)}, {"x": np.array([b"bc"], object)}, True),
    ],
)
def test_signature(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    assert (signature(one) == signature(other)) == equal


def test_wanted_until_it_ends_or_its_sender_leaves() -> None:
    class Future:
        gone = False

        def done(self) -> bool:
            return self.gone

    ticket = Ticket(Future(), 0.0, 0.0)  # type: ignore[arg-type]
    assert ticket.wanted
    ticket.future.gone = True  # type: ignore[attr-defined]
    assert not ticket.wanted
    ended = Ticket(Future(), 0.0, 0.0, ended=True)  # type: ignore[arg-type]
    assert not ended.wanted


def test_outputs_of_pieces_are_put_together_in_order_whatever_comes_first() -> None:
    ticket = cut_of(ids(0, 10), 10)
    for piece in reversed(ticket.pieces):
        enter(piece, {"y": piece.inputs["x"] * 2})
    assert ticket.outputs is not None
    assert np.array_equal(ticket.outputs["y"], ids(0, 10)["x"] * 2)


def test_of_the_outputs_of_a_piece_nothing_is_kept() -> None:
    """They are views of the memory that their run took."""
    ticket = cut_of(ids(0, 10), 10)
    y = np.ones((4, 1))
    enter(ticket.pieces[0], {"y": y})
    assert ticket.outputs is not None
    assert not np.shares_memory(ticket.outputs["y"], y)


def test_texts_are_put_together_too() -> None:
    ticket = cut_of(ids(0, 6), 6)
    for piece in ticket.pieces:
        enter(piece, {"y": np.array([b"a"] * piece.weight, dtype=object)})
    assert ticket.outputs is not None
    assert ticket.outputs["y"].tolist() == [b"a"] * 6


def test_a_lone_piece_is_handed_on_without_a_copy() -> None:
    ticket = cut_of(ids(0, 3), 3)
    y = np.ones((3, 1))
    enter(ticket.pieces[0], {"y": y})
    assert ticket.outputs is not None
    assert ticket.outputs["y"] is y


@pytest.mark.parametrize(
    "odd",
    [{"y": np.ones((2, 7))}, {"z": np.ones((2, 1))}, {"y": np.ones((2, 1), np.float32)}, {"y": np.ones(2)}, {}],
    ids=["other shape", "other name", "other dtype", "other rank", "none"],
)
def test_pieces_that_do_not_fit_together_fail_typed(odd: dict[str, Any]) -> None:
    ticket = cut_of(ids(0, 6), 6)
    enter(ticket.pieces[0], {"y": np.ones((4, 1))})
    with pytest.raises(RunFailed, match="do not fit together"):
        enter(ticket.pieces[1], odd)


@pytest.mark.parametrize("columns", [2**44, 2**57], ids=["for the machine", "for a number"])
def test_an_answer_that_is_too_large_fails_typed(columns: int) -> None:
    ticket = cut_of(ids(0, 10), 10)
    with pytest.raises(RunFailed, match="not enough memory for the answer to so many rows"):
        enter(ticket.pieces[0], {"y": np.broadcast_to(np.zeros(1), (4, columns))})
