"""Which runs are so quick that handing them to a thread would cost more than they do: those run on the event loop.

A hop to a thread and back is two wake-ups and two hand-overs of the interpreter's lock: about 0.2 ms where a run of a
tiny network takes 0.05. Judges each size by how long it took on the loop itself: a few slow runs in a row close it, one
quick run opens it again. Long runs in a row, of whatever sizes, close all of them, and so do long ones that came to
much together, with quick ones between them. Knows nothing of what runs; whoever sets the limit vouches that a run's
time depends on its size alone, since the loop stands still meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from service.batching.costs import SIZES_LIMIT, Costs
from service.batching.run import Run
from service.core.clock import Clock

SLOW_RUNS_ALLOWED = 3  # in a row: the first ones find cold caches, and any may be interrupted
LOOK_AGAIN_S = 0.05
LONG = 4.0  # times the limit
LONG_RUNS_ALLOWED = 2  # in a row, of any sizes: one may have been interrupted, hardly two
HELD_ALLOWED_S = 0.2  # by long runs, quick ones between them or not
HELD_SHARE = 0.02  # of the time, in the long run: who knows how to make runs long holds the loop up for no more
NEAR = 2.0  # a size is tried only where runs of it take at most so many times the limit on the whole


@dataclass(slots=True)
class _Seen:
    """Slow runs: how many were in a row, and when the last of them was."""

    slow_runs: int = 0
    slow_at_s: float = -math.inf


@dataclass(slots=True)
class Quick:
    """The judge of a batcher's runs.

    Args:
        limit_s: how long a run may hold the loop up; 0 lets none.
        costs: which runs are of one size, and how long those take, as measured anywhere.
        clock: monotonic seconds.
    """

    limit_s: float
    costs: Costs
    clock: Clock
    _seen: dict[Hashable, _Seen] = field(default_factory=dict)
    _all: _Seen = field(default_factory=_Seen)  # long runs, of all sizes
    _held_s: float = 0.0  # by long runs, at `_all.slow_at_s`; what is allowed is taken off as time goes on

    def allows(self, run: Run) -> bool:
        """Whether a run should be done on the loop."""
        if not 0 < self.costs.predict_s(run) <= NEAR * self.limit_s:
            return False
        if self._all.slow_runs >= LONG_RUNS_ALLOWED and not self._looks_again(self._all):
            return False
        if self._held_s > HELD_ALLOWED_S and self._still_held_s() > HELD_ALLOWED_S:
            return False
        seen = self._seen.get(self.costs.size(run)) if self._seen else None
        return seen is None or seen.slow_runs < SLOW_RUNS_ALLOWED or self._looks_again(seen)

    def learn(self, run: Run, seconds: float, used_s: float) -> None:
        """Notes that a run took `seconds` on the loop, and `used_s` of its processor.

        What others took of that meanwhile says nothing of the run: on a busy core long runs would come to much.
        """
        if seconds <= LONG * self.limit_s:
            self._all.slow_runs = 0
        else:
            self._held_s = self._still_held_s() + min(seconds, used_s)
            self._note(self._all)
        if seconds > self.limit_s:
            if len(self._seen) >= SIZES_LIMIT:
                self._seen.clear()
            self._note(self._seen.setdefault(self.costs.size(run), _Seen()))
        elif self._seen:
            self._seen.pop(self.costs.size(run), None)

    def _note(self, seen: _Seen) -> None:
        seen.slow_runs += 1
        seen.slow_at_s = self.clock.now_s()

    def _still_held_s(self) -> float:
        return max(0.0, self._held_s - HELD_SHARE * (self.clock.now_s() - self._all.slow_at_s)) if self._held_s else 0.0

    def _looks_again(self, seen: _Seen) -> bool:
        return self.clock.now_s() - seen.slow_at_s >= LOOK_AGAIN_S
