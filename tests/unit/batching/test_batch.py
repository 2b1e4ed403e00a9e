"""Stacking and splitting: everyone gets their own rows, in memory that nobody else holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.batching.batch import check_rows, split, stack
from service.batching.ticket import Piece, Ticket, cut
from service.core.errors import RunFailed
from tests.fakes import ids


def piece(inputs: dict[str, Any], rows: int | None) -> Piece:
    ticket = Ticket(None, 0.0, 0.0)  # type: ignore[arg-type]
    cut(ticket, inputs, rows, max_rows=100, alone=False)
    return ticket.pieces[0]


def test_rows_are_stacked_in_the_order_of_the_pieces() -> None:
    stacked = stack([piece(ids(0, 2), 2), piece(ids(10, 1), 1), piece(ids(20, 3), 3)])
    assert stacked["x"][:, 0].tolist() == [0, 1, 10, 20, 21, 22]


def test_a_lone_piece_is_not_copied_on_its_way_in_or_out() -> None:
    lone = piece(ids(0, 2), 2)
    outputs = {"y": np.ones((2, 1))}
    assert stack([lone]) is lone.inputs
    assert split(outputs, [lone])[0]["y"] is outputs["y"]


def test_a_batch_of_several_shares_memory_with_none_of_them() -> None:
    pieces = [piece(ids(0, 2), 2), piece(ids(10, 2), 2)]
    stacked = stack(pieces)
    y = stacked["x"] * 2
    parts = split({"y": y}, pieces)
    for part, each in zip(parts, pieces, strict=True):
        assert not np.shares_memory(stacked["x"], each.inputs["x"])
        assert not np.shares_memory(part["y"], y)
        assert part["y"].base is None, "a view would keep, and show, the rows of the others"
    parts[0]["y"][:] = -1
    assert parts[1]["y"][:, 0].tolist() == [20, 22]


def test_several_inputs_and_outputs_are_taken_apart_by_name() -> None:
    one = piece({"a": np.array([[1.0]]), "b": np.array([[2]])}, 1)
    two = piece({"b": np.array([[20]]), "a": np.array([[10.0]])}, 1)
    stacked = stack([one, two])
    assert (stacked["a"].tolist(), stacked["b"].tolist()) == ([[1.0], [10.0]], [[2], [20]])
    parts = split({"s": stacked["a"] + stacked["b"], "b": stacked["b"]}, [one, two])
    assert [part["s"].tolist() for part in parts] == [[[3.0]], [[30.0]]]
    assert [part["b"].tolist() for part in parts] == [[[2]], [[20]]]


def test_strings_are_stacked_and_split_too() -> None:
    one, two = (piece({"x": np.array([word], object)}, 1) for word in (b"a", b"bc"))
    stacked = stack([one, two])
    assert stacked["x"].tolist() == [b"a", b"bc"]
    assert [part["x"].tolist() for part in split(stacked, [one, two])] == [[b"a"], [b"bc"]]


@pytest.mark.parametrize("rows", [0, 1, 3, 5])
def test_an_output_without_a_row_for_each_row_is_refused(rows: int) -> None:
    pieces = [piece(ids(0, 2), 2), piece(ids(10, 2), 2)]
    with pytest.raises(RunFailed, match=rf"output 'y' has shape \[{rows}, 7\] for a batch of 4 rows"):
        split({"x": np.ones((4, 1)), "y": np.ones((rows, 7))}, pieces)
    with pytest.raises(RunFailed, match="for a batch of 2 rows"):
        split({"y": np.ones((rows, 7))}, pieces[:1])


@pytest.mark.parametrize(
    ("outputs", "rows", "sentence"),
    [
        ([np.ones(1)], 1, "did not return named outputs"),
        (None, None, "did not return named outputs"),
        ({"y": [1.0]}, 1, "output 'y' is not an array"),
        ({"y": np.float64(1)}, None, "output 'y' is not an array"),
        ({"y": np.array(1.0)}, 1, r"shape \[\] for a batch of 1 rows"),
        ({"y": np.ones((1, 2))}, 0, "for a batch of 0 rows"),
    ],
)
def test_what_is_no_answer_is_refused(outputs: object, rows: int | None, sentence: str) -> None:
    with pytest.raises(RunFailed, match=sentence):
        check_rows(outputs, rows)


def test_without_a_batch_axis_any_shape_will_do() -> None:
    lone = piece(ids(0, 3), None)
    outputs = {"y": np.array(1.0), "z": np.ones((7, 2))}
    assert split(outputs, [lone]) == [outputs]


def test_no_rows_in_and_no_rows_out() -> None:
    nothing = piece(ids(0, 0), 0)
    assert split({"y": np.ones((0, 2))}, [nothing])[0]["y"].shape == (0, 2)
