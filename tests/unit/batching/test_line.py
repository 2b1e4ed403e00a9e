"""A line: better ranks first, then order of arrival, and leaving it costs nothing wherever one stands."""

from __future__ import annotations

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


def test_whoever_leaves_is_gone_and_can_leave_once() -> None:
    line, pieces = Line(), [piece(2, 1), piece(4, 2)]
    for each in pieces:
        line.join(each)
    assert line.leave(pieces[0])
    assert not line.leave(pieces[0])
    assert not line.leave(piece(2, 9))
    assert (line.first, bool(line)) == (pieces[1], True)
    assert line.leave(pieces[1])
    assert (bool(line), line._ranks) == (False, {})
