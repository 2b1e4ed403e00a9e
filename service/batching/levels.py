"""Priority levels: which one a request belongs to, and how long it may wait there.

Level 1 is served first. Meanings are those of Triton's dynamic batcher (model_config.proto, ModelQueuePolicy; core's
PriorityQueue). Pure values; knows nothing of what waits.
"""

from __future__ import annotations

import math

from service.batching.contract import BatchConfig, WaitPolicy


class Levels:
    """The levels of one batcher; without any, every request is of level 0.

    Attributes:
        count: how many there are.
        policies: how the requests of each wait, by level.
    """

    def __init__(self, config: BatchConfig) -> None:
        self.count = config.levels
        self._default = config.default_level or (config.levels + 1) // 2
        own = config.level_waiting
        self.policies = [own.get(level, config.waiting) for level in range(config.levels + 1)]

    def of(self, priority: int, *, quiet: bool = False) -> int:
        """The level of a request.

        Args:
            priority: as the client gave it; 0, or more than there are levels, is the default level.
            quiet: the server's own question, which is served first: it must not wait as long as clients allow.
        """
        if not self.count:
            return 0
        if quiet:
            return 1
        return priority if 0 < priority <= self.count else self._default


def limit_s(policy: WaitPolicy, timeout_s: float | None) -> float:
    """Seconds that a request may wait to be run; `inf` for ever.

    Args:
        policy: of its level.
        timeout_s: what it asks for, None for nothing; it may shorten the default, never lengthen it.
    """
    default_s = math.inf if policy.default_timeout_s is None else policy.default_timeout_s
    return default_s if timeout_s is None or not policy.allows_timeout else min(default_s, timeout_s)
