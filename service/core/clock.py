"""Time as a part that can be passed in: monotonic seconds, so that a step of the wall clock moves no deadline."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds since an arbitrary start."""

    def now_s(self) -> float:
        """Seconds; never goes back."""
        ...


class MonotonicClock:
    """The machine's monotonic clock, the one asyncio's event loop uses too."""

    now_s = staticmethod(time.monotonic)
