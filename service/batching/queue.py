"""Where pieces wait: in buckets of equal shape, in turn within one, and the bucket whose turn it is first.

In turn: better ranks first, first come first served within a rank. Removing a piece that nobody wants any more costs
the same wherever it stands. Knows nothing of time or engines. Owned by the event loop's thread.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

from service.batching.batch import PLAIN
from service.batching.line import Line
from service.batching.ticket import Piece, Ticket

Choose = Callable[[Iterable[Piece], int], list[Piece]]


class Bucket:
    """Pieces that may share a batch, in turn."""

    __slots__ = ("pieces", "rows")

    def __init__(self) -> None:
        self.pieces = Line()
        self.rows = 0

    @property
    def head(self) -> Piece:
        """The piece whose turn it is."""
        return self.pieces.first


class Queue:
    """The waiting pieces of one batcher.

    Attributes:
        requests: tickets with a piece in the queue.
        rows: rows in the queue; a piece without rows counts as one.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self._next_seq = 0
        self._everyone = Line()
        self._buckets: dict[Hashable, Bucket] = {}
        self._requests_at: Counter[int] = Counter()  # of levels above 0 only
        self._rows_at: Counter[int] = Counter()

    def add(self, piece: Piece) -> None:
        """Takes a piece in as the youngest of its rank."""
        self._next_seq += 1
        piece.seq = self._next_seq
        self._everyone.join(piece)
        bucket = self._buckets.get(piece.key)
        if bucket is None:
            bucket = self._buckets[piece.key] = Bucket()
        bucket.pieces.join(piece)
        piece.bucket = bucket
        ticket, rows = piece.ticket, piece.weight
        newcomer = ticket.waiting == 0
        ticket.waiting += 1
        bucket.rows += rows
        self.rows += rows
        self.requests += newcomer
        if ticket.level:
            self._count(ticket.level, rows, newcomer)

    def discard(self, piece: Piece) -> None:
        """Removes a piece; one that does not wait is left alone."""
        bucket = piece.bucket
        if bucket is not None and self._buckets.get(piece.key) is bucket:
            self._remove(bucket, (piece,))

    def delay(self, ticket: Ticket) -> None:
        """Puts a ticket that waits whole behind all others of its level."""
        for piece in ticket.pieces:
            self.discard(piece)
        ticket.rank += 1
        ticket.wait_until_s = math.inf
        for piece in ticket.pieces:
            self.add(piece)

    def take(self, bucket: Bucket, rows: int, choose: Choose = PLAIN.choose) -> list[Piece]:
        """Removes and returns what `choose` makes of the bucket's pieces and the number of rows that may be taken."""
        head = bucket.pieces.first
        taken = [head] if bucket.rows == head.weight else choose(bucket.pieces, rows)  # no choice among one
        self._remove(bucket, taken)
        return taken

    def buckets(self) -> Iterator[Bucket]:
        """The buckets, the one whose head's turn it is first; the queue must not change meanwhile."""
        if not self._buckets:
            return
        first = self._everyone.first.bucket
        if first is None:
            raise AssertionError("a piece waits in no bucket")
        yield first
        if len(self._buckets) > 1:
            for bucket in sorted(self._buckets.values(), key=_turn):
                if bucket is not first:
                    yield bucket

    @property
    def shapes(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)

    def requests_of(self, level: int) -> int:
        """Tickets of `level`, 1 or more, with a piece in the queue; without levels, `requests` says it."""
        return self._requests_at[level]

    def rows_before(self, level: int) -> int:
        """Rows that a newcomer of `level`, 1 or more, waits for: of its own and better ones; without levels, `rows`."""
        return sum(rows for at, rows in self._rows_at.items() if at <= level)

    def _remove(self, bucket: Bucket, pieces: Sequence[Piece]) -> None:
        self._everyone.leave(pieces)
        bucket.pieces.leave(pieces)
        for piece in pieces:
            piece.bucket = None
            ticket, rows = piece.ticket, piece.weight
            bucket.rows -= rows
            self.rows -= rows
            ticket.waiting -= 1
            gone = ticket.waiting == 0
            self.requests -= gone
            if ticket.level:
                self._count(ticket.level, -rows, -gone)
        if not bucket.rows:
            del self._buckets[pieces[0].key]

    def _count(self, level: int, rows: int, requests: int) -> None:
        self._rows_at[level] += rows
        self._requests_at[level] += requests


def _turn(bucket: Bucket) -> tuple[int, int]:
    head = bucket.head
    return head.ticket.rank, head.seq
