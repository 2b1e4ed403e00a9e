"""What a batch of each size costs, as measured: seeded by the warm-up, refined by every run.

Answers two questions: how many rows give the most rows per second, and how long a run of that many will take.
Knows nothing of queues.
"""

from __future__ import annotations

import math
from bisect import bisect_right

WEIGHT = 0.2  # of a new sample in its size's moving average
OUTLIER = 4.0  # a sample counts as at most so many times the average: one page fault must not shape a minute
_NOISE = 0.02  # rates closer than this are a tie, and the smaller size wins it
_SHORT_S = 200e-6  # so short a run costs less than what is around it, and its noise is more: the fewer runs the better
_TRY_ALL_EVERY = 64  # choices; a size once measured badly would otherwise never be measured again


class CostCurve:
    """Seconds of a run by its rows.

    Args:
        max_rows: the largest batch that will be formed.

    Attributes:
        samples: how many it has learnt from: while that stays, so does every answer but that of `best_rows`.
    """

    def __init__(self, max_rows: int) -> None:
        self.samples = 0
        self._max_rows = max(1, max_rows)
        self._seconds: dict[int, float] = {}
        self._sizes: list[int] = []
        self._choices = 0
        self._best_of_all: tuple[int, float] | None = None  # (rows, rows per second), until the next sample

    def observe(self, rows: int, seconds: float) -> None:
        """Learns that a run of `rows` rows took `seconds`."""
        known = self._seconds.get(rows)
        if known is None:
            self._seconds[rows] = seconds
            self._sizes = sorted(self._seconds)
        else:
            self._seconds[rows] = known + WEIGHT * (min(seconds, OUTLIER * known) - known)
        self._best_of_all = None
        self.samples += 1

    def best_rows(self, available: int) -> int:
        """The size up to `available` with the most rows per second; now and then, and where nothing is known, all."""
        available = min(available, self._max_rows)
        self._choices += 1
        if available <= 1 or self._choices % _TRY_ALL_EVERY == 0:
            return available
        return self._best(available)

    @property
    def full_rows(self) -> int:
        """The size beyond which waiting for more rows gains nothing."""
        return self._of_all()[0]

    @property
    def rows_per_s(self) -> float:
        """The best rate there is; `inf` while nothing is measured."""
        return self._of_all()[1]

    def predict_s(self, rows: int) -> float:
        """Seconds that a run of `rows` rows will take, linear between measured sizes; 0 while nothing is measured."""
        known = self._seconds.get(rows)
        if known is not None:
            return known
        if not self._sizes:
            return 0.0
        above = bisect_right(self._sizes, rows)
        if above == 0:
            return self._seconds[self._sizes[0]]
        low = self._sizes[above - 1]
        if above == len(self._sizes):
            return self._seconds[low] * rows / max(1, low)
        high = self._sizes[above]
        share = (rows - low) / (high - low)
        return self._seconds[low] + share * (self._seconds[high] - self._seconds[low])

    def _of_all(self) -> tuple[int, float]:
        if self._best_of_all is None:
            rows = self._best(self._max_rows)
            seconds = self.predict_s(rows)
            self._best_of_all = rows, rows / seconds if seconds > 0 else math.inf
        return self._best_of_all

    def _best(self, available: int) -> int:
        if not self._sizes or available > self._sizes[-1]:
            return available
        seconds = self.predict_s(available)
        if seconds <= _SHORT_S:
            return available
        best, best_rate = available, available / max(seconds, 1e-9)
        for rows in reversed(self._sizes):
            if not 0 < rows < available:
                continue
            rate = rows / max(self._seconds[rows], 1e-9)
            if rate >= best_rate * (1 - _NOISE):
                best, best_rate = rows, max(rate, best_rate)
        return best
