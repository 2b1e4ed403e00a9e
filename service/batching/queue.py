"""Where pieces wait: in buckets of equal shape, first come first served within one, the oldest bucket first.

Removing a piece that nobody wants any more costs the same wherever it stands. Knows nothing of time or engines.
Owned by the event loop's thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from service.batching.ticket import Piece


class Bucket:
    """Pieces that may share a batch, in order of arrival."""

    __slots__ = ("pieces", "rows")

    def __init__(self) -> None:
        self.pieces: OrderedDict[int, Piece] = OrderedDict()
        self.rows = 0

    @property
    def head(self) -> Piece:
        """The oldest piece."""
        return next(iter(self.pieces.values()))


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
        self._arrivals: OrderedDict[int, Piece] = OrderedDict()
        self._buckets: dict[Hashable, Bucket] = {}

    def add(self, piece: Piece) -> None:
        """Takes a piece in as the youngest."""
        self._next_seq += 1
        piece.seq = self._next_seq
        self._arrivals[piece.seq] = piece
        bucket = self._buckets.get(piece.key)
        if bucket is None:
            bucket = self._buckets[piece.key] = Bucket()
        bucket.pieces[piece.seq] = piece
        bucket.rows += piece.weight
        self.rows += piece.weight
        self.requests += piece.ticket.waiting == 0
        piece.ticket.waiting += 1

    def discard(self, piece: Piece) -> None:
        """Removes a piece; one that does not wait is left alone."""
        if self._arrivals.pop(piece.seq, None) is None:
            return
        bucket = self._buckets[piece.key]
        del bucket.pieces[piece.seq]
        bucket.rows -= piece.weight
        if not bucket.pieces:
            del self._buckets[piece.key]
        self.rows -= piece.weight
        piece.ticket.waiting -= 1
        self.requests -= piece.ticket.waiting == 0

    def take(self, bucket: Bucket, rows: int) -> list[Piece]:
        """Removes and returns the bucket's oldest pieces: always the first, then all that fit into `rows`."""
        taken: list[Piece] = []
        for piece in bucket.pieces.values():
            rows -= piece.weight
            if taken and rows < 0:
                break
            taken.append(piece)
        for piece in taken:
            self.discard(piece)
        return taken

    def buckets(self) -> Iterator[Bucket]:
        """The buckets, the one whose head has waited longest first; the queue must not change meanwhile."""
        if not self._arrivals:
            return
        oldest = self._buckets[next(iter(self._arrivals.values())).key]
        yield oldest
        if len(self._buckets) > 1:
            for bucket in sorted(self._buckets.values(), key=lambda bucket: bucket.head.seq):
                if bucket is not oldest:
                    yield bucket

    @property
    def shapes(self) -> int:
        """How many buckets there are."""
        return len(self._buckets)
