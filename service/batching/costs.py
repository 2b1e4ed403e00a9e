"""What runs of one size cost: asked before a run is done on the event loop, taught by all that came back from anywhere.

Where rows alone vary the curve knows it, from the warm-up on. Where a client chooses other axes too, or how long a text
is, only runs that are alike in all of these are of one size, and nothing is known of one before a run of it came back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

from service.batching.batch import Stacking
from service.batching.curve import OUTLIER, WEIGHT, CostCurve
from service.batching.run import Run
from service.batching.ticket import Piece

SIZES_LIMIT = 1024  # the clients choose them: where there are more, all are forgotten
TEXTS_LIMIT = 512  # of a run whose length is asked for: of millions that alone would hold the loop up for half a second


class Costs:
    """Of a version whose runs differ in their rows alone.

    Args:
        curve: seconds by rows; taught here.
    """

    def __init__(self, curve: CostCurve) -> None:
        self._curve = curve

    def size(self, run: Run) -> Hashable:
        """Equal for runs that cost the same."""
        return run.rows

    def predict_s(self, run: Run) -> float:
        """Seconds that a run will take; 0 where nothing is known of its size."""
        return self._curve.predict_s(run.rows)

    def lone_s(self, piece: Piece) -> float:
        """Seconds that a run of this piece alone will take; 0 where nothing is known of its size."""
        return self._curve.predict_s(piece.weight)

    def observe(self, run: Run) -> None:
        """Learns from a run that came back well."""
        self._curve.observe(run.rows, run.ended_s - run.started_s)


class ShapeCosts(Costs):
    """Of a version whose runs differ in other axes too.

    Args:
        curve: seconds by rows, whatever the shapes; taught here.
        stacking: says how long the longest of a batch is.
    """

    def __init__(self, curve: CostCurve, stacking: Stacking) -> None:
        super().__init__(curve)
        self._stacking = stacking
        self._seconds: dict[Hashable, float] = {}

    def size(self, run: Run) -> Hashable:
        """Rows, every other axis of every input as long as in the batch, and the texts' length: each rounded up.

        None for so many texts that nobody counts: nothing is ever known of those.
        """
        return self._size(run.rows, run.pieces)

    def predict_s(self, run: Run) -> float:
        """Seconds that a run will take; 0 where none of its size came back yet."""
        return self._seconds.get(self.size(run), 0.0)

    def lone_s(self, piece: Piece) -> float:
        """Seconds that a run of this piece alone will take; 0 where none of its size came back yet."""
        return self._seconds.get(self._size(piece.weight, [piece]), 0.0)

    def observe(self, run: Run) -> None:
        """Learns from a run that came back well."""
        super().observe(run)
        size, seconds = self.size(run), run.ended_s - run.started_s
        if size is None:
            return
        known = self._seconds.get(size)
        if known is not None:
            seconds = known + WEIGHT * (min(seconds, OUTLIER * known) - known)
        elif len(self._seconds) >= SIZES_LIMIT:
            self._seconds.clear()
        self._seconds[size] = seconds

    def _size(self, rows: int, pieces: Sequence[Piece]) -> Hashable:
        if sum(a.size for piece in pieces for a in piece.inputs.values() if a.dtype.hasobject) > TEXTS_LIMIT:
            return None
        return round_up(rows), *map(round_up, self._lengths(pieces))

    def _lengths(self, pieces: Sequence[Piece]) -> Iterator[int]:
        inputs = self._stacking.longest(pieces).inputs
        for name, array in inputs.items():
            yield from array.shape if pieces[0].rows is None else array.shape[1:]
            if array.dtype.hasobject:
                yield sum(len(text) for piece in pieces for text in piece.inputs[name].flat)


def round_up(number: int) -> int:
    """To the next of 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ...: what is rounded alike differs by less than a half."""
    power = 1 << max(0, number - 1).bit_length()
    return power * 3 // 4 if number <= power * 3 // 4 else power
