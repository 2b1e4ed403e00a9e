"""Whether a queue stands: everybody in it has waited long, for so long that it is no burst that drains.

CoDel's control law for a queue of requests (Nichols and Jacobson, RFC 8289; Maurer, "Fail at Scale", ACM Queue 13/8,
2015): a queue is judged by the least wait in an interval, not by its length. What is refused is the newcomer, who hears
of it at once, where CoDel drops the oldest, who has waited for nothing. Knows nothing of what a wait is predicted from.
"""

from __future__ import annotations

import math

from service.batching.policy import WaitLimits


class Standing:
    """The waits of one level, of which it keeps one number: since when none was short.

    The queue stands once all who began to run within an interval had waited longer than the target, and until an engine
    has been idle: while newcomers are refused waits are short, which proves nothing.
    """

    __slots__ = ("_long_since_s", "_stands")

    def __init__(self) -> None:
        self._long_since_s = math.inf
        self._stands = False

    def idle(self) -> None:
        """An engine was idle and nobody waited."""
        self._long_since_s, self._stands = math.inf, False

    def short(self) -> None:
        """Some request of a run that begins now has waited for less than any target."""
        self._long_since_s = math.inf

    def waited(self, wait_s: float, limits: WaitLimits, now_s: float) -> None:
        """The youngest request of a run that begins now has waited so long."""
        if wait_s <= limits.target_s:
            self._long_since_s = math.inf
        elif self._long_since_s == math.inf:
            self._long_since_s = now_s
        elif now_s - self._long_since_s >= limits.stands_after_s:
            self._stands = True

    def allowed_s(self, limits: WaitLimits) -> float:
        """The longest wait with which a newcomer is let in."""
        return limits.target_s if self._stands else limits.burst_s
