"""Whether anybody computes for a version: what a run that takes long does, and one that is frozen does not.

A run over far more data than any before it is silent for as long as it takes; processor time tells it from one that
hangs. What a remote server does is not to be seen from here.
"""

from __future__ import annotations

import math

from service.core.clock import Clock
from service.serving.servable import Servable

_LEAST_SHARE = 0.05  # of a processor, between two looks
_STALE_S = 1.0  # between two looks: what was computed before a silence says nothing of it


class Effort:
    """Looks at one servable's engines and processes.

    Attributes:
        seen_s: when it was last seen that they compute, on the clock; -inf for never.
    """

    def __init__(self, servable: Servable, clock: Clock) -> None:
        self._servable = servable
        self._clock = clock
        self._looked_s = -math.inf
        self._used_s = 0.0
        self.seen_s = -math.inf

    def look(self) -> None:
        """To be called a few times a second for as long as it matters."""
        now_s, used_s = self._clock.now_s(), self._taken_s()
        apart_s = now_s - self._looked_s
        if 0 < apart_s <= _STALE_S and used_s - self._used_s >= _LEAST_SHARE * apart_s:
            self.seen_s = now_s
        self._looked_s, self._used_s = now_s, used_s

    def _taken_s(self) -> float:
        processes = self._servable.origins.processes
        return self._servable.batcher.crew.used_s + (processes.used_s if processes is not None else 0.0)
