"""When an answer is no longer wanted, as a point in monotonic time that travels with the request."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic seconds; `Deadline.never()` is infinitely far away."""

    at_s: float

    @classmethod
    def never(cls) -> Deadline:
        """The deadline of a request that named none."""
        return NEVER

    @classmethod
    def after(cls, now_s: float, budget_s: float) -> Deadline:
        """The deadline `budget_s` seconds from `now_s`."""
        return cls(now_s + budget_s)

    def left_s(self, now_s: float) -> float:
        """Seconds left; negative when passed, `inf` for never."""
        return self.at_s - now_s

    def passed(self, now_s: float) -> bool:
        """Whether an answer at `now_s` would come too late."""
        return now_s >= self.at_s

    def sooner(self, other: Deadline) -> Deadline:
        """The earlier of the two."""
        return self if self.at_s <= other.at_s else other


NEVER = Deadline(math.inf)
