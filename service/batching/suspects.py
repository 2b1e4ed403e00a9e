"""Who keeps sending requests that fail: they are run alone for a while, so that they cannot multiply the load.

Bounded, and it forgets. An origin may be a proxy with many behind it, so its good requests count too: only where more
than one in ten fails is it worth running all of them alone. Knows nothing of keys or peers: an origin is a string.
"""

from __future__ import annotations

import math
from collections import OrderedDict

_STRIKES = 3.0  # failures that make a suspect
_MOST_STRIKES = 8.0  # so that a suspect who mends is trusted again within two half-lives
_HALF_LIFE_S = 20.0
_FORGOTTEN = 0.5  # so few strikes are none
_ABSOLVED = 0.1  # strikes that a good request makes up for


class Suspects:
    """Failures by origin, less what good requests make up for, halved every `half_life_s` seconds.

    Args:
        limit: origins remembered; the one that failed longest ago is forgotten first.
        half_life_s: seconds.
    """

    def __init__(self, limit: int = 1024, half_life_s: float = _HALF_LIFE_S) -> None:
        self._limit = limit
        self._half_life_s = half_life_s
        self._strikes: OrderedDict[str, tuple[float, float]] = OrderedDict()  # origin -> (strikes, when)

    def strike(self, origin: str, now_s: float) -> None:
        """Counts a failed request of `origin`; the empty origin is nobody."""
        if not origin:
            return
        self._strikes[origin] = (min(self._left(origin, now_s) + 1.0, _MOST_STRIKES), now_s)
        self._strikes.move_to_end(origin)
        if len(self._strikes) > self._limit:
            self._strikes.popitem(last=False)

    def absolve(self, origin: str, now_s: float) -> None:
        """Counts a good request of `origin`, which makes up for a part of a failed one."""
        if origin in self._strikes:
            self._strikes[origin] = (max(0.0, self._left(origin, now_s) - _ABSOLVED), now_s)

    def suspected(self, origin: str, now_s: float) -> bool:
        """Whether requests of `origin` should share a batch with nobody."""
        if origin not in self._strikes:
            return False
        left = self._left(origin, now_s)
        if left < _FORGOTTEN:
            del self._strikes[origin]
        return left > _STRIKES - 1.0

    def __len__(self) -> int:
        return len(self._strikes)

    def _left(self, origin: str, now_s: float) -> float:
        strikes, at_s = self._strikes.get(origin, (0.0, now_s))
        return strikes * math.exp2(-(now_s - at_s) / self._half_life_s)
