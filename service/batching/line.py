"""Pieces in a line: those of a better rank first, first come first served within one.

Joining, leaving and looking at the first cost the same however long the line is. Owned by the event loop's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from service.batching.ticket import Piece


class Line:
    """Waiting pieces, each where its ticket's rank and its own `seq` put it; neither may change while it waits."""

    __slots__ = ("_ranks",)

    def __init__(self) -> None:
        self._ranks: dict[int, OrderedDict[int, Piece]] = {}

    def join(self, piece: Piece) -> None:
        """Takes a piece in behind all of its rank."""
        rank = self._ranks.get(piece.ticket.rank)
        if rank is None:
            rank = self._ranks[piece.ticket.rank] = OrderedDict()
        rank[piece.seq] = piece

    def leave(self, pieces: Iterable[Piece]) -> None:
        """Removes pieces that stand here."""
        for piece in pieces:
            rank = self._ranks[piece.ticket.rank]
            del rank[piece.seq]
            if not rank:
                del self._ranks[piece.ticket.rank]

    @property
    def first(self) -> Piece:
        """The piece whose turn it is; there must be one."""
        ranks = self._ranks
        if len(ranks) == 1:
            (rank,) = ranks.values()
        else:
            rank = ranks[min(ranks)]
        return next(iter(rank.values()))

    def __iter__(self) -> Iterator[Piece]:
        for rank in sorted(self._ranks):
            yield from self._ranks[rank].values()

    def __bool__(self) -> bool:
        return bool(self._ranks)
