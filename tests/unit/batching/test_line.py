"""A line: better ranks first, then order of arrival, and leaving it costs nothing wherever one stands."""

from __future__ import annotations

import pytest

from service.batching.line import Line
from service.batching.ticket import Piece, Ticket


def piece(rank: int, seq: int) -> Piece:
    return Piece(Ticket(None, 0.0, 0.0, rank=rank), {}, 1, "key", False, seq)  # type: ignore[arg-type]


def test_ranks_first_then_arrival() -> None:
    line, pieces = Line(), [piece(4, 1), piece(2, 2), piece(3, 3), piece(2, 4)]
    assert not line
    for each in pieces:
        line.join(each)
    assert [each.seq for each in line] == [2, 4, 3, 1]
    assert line.first is pieces[1]


def test_whoever_leaves_is_gone() -> None:
    line, pieces = Line(), [piece(2, 1), piece(4, 2), piece(2, 3), piece(4, 4)]
    for each in pieces:
        line.join(each)
    line.leave(pieces[:2])
    assert (line.first, list(line)) == (pieces[2], pieces[2:])
    line.leave(pieces[2:])
    assert (bool(line), line._ranks) == (False, {})


def test_who_does_not_stand_there_cannot_leave() -> None:
    line = Line()
    line.join(piece(2, 1))
    with pytest.raises(KeyError):
        line.leave([piece(2, 9)])
