"""Answers a request from the cache where it can, and otherwise runs it and keeps the answer; counts hits and misses.

Hashing never holds the loop up: inputs that are large are hashed on a thread, a few at a time, and while those are busy
a request goes past the cache. Requests that miss together each run: the last answer is the one that stays.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import numpy as np

from service.batching.contract import Answer
from service.core.contract import NO_TIME, Arrays
from service.observe.statistics import VersionStatistics
from service.serving.finite import not_finite
from service.serving.response_cache import ResponseCache, key_of
from service.serving.threads import in_thread

# Measured: about 1 ns a byte, and 0.2 us a text. The loop may stand still for some 0.1 ms.
INLINE_BYTES = 128 << 10
INLINE_TEXTS = 512
THREADS = 2


class CachedAnswers:
    """The cache in front of one version's batcher.

    Args:
        max_bytes: of all kept answers.
        statistics: of the version.
    """

    def __init__(self, max_bytes: int, statistics: VersionStatistics) -> None:
        self.kept = ResponseCache(max_bytes)
        self._max_bytes = max_bytes
        self._statistics = statistics
        self._hashing = 0
        statistics.caches = True

    async def answer(self, inputs: Arrays, run: Callable[[], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """The answer to `inputs`, and whether it was kept; the arrays of a kept one cannot be written.

        Raises:
            Whatever `run` raises; nothing is kept then.
        """
        began_ns = time.perf_counter_ns()
        key = await self._key(inputs)
        if key is None:
            return await run(), False
        outputs = self.kept.get(key)
        looked_up_ns = time.perf_counter_ns() - began_ns
        if outputs is not None:
            self._statistics.cache_hit.add(looked_up_ns)
            return Answer(dict(outputs), NO_TIME, 0), True
        answer = await run()
        began_ns = time.perf_counter_ns()
        if not any(map(not_finite, answer.outputs.items())):
            self.kept.put(key, answer.outputs)
        self._statistics.cache_miss.add(looked_up_ns + time.perf_counter_ns() - began_ns)
        return answer, False

    async def _key(self, inputs: Arrays) -> bytes | None:
        """The key of `inputs`; None for a request that goes past the cache."""
        texts = sum(array.size for array in inputs.values() if array.dtype == np.object_)
        in_bytes = sum(array.nbytes for array in inputs.values())
        if in_bytes <= INLINE_BYTES and texts == 0:
            return key_of(inputs)
        if texts <= INLINE_TEXTS and _text_bytes(inputs) + in_bytes <= INLINE_BYTES:
            return key_of(inputs)
        if self._hashing >= THREADS:
            return None
        self._hashing += 1
        try:
            return await in_thread("hash of a request", lambda: key_of(inputs))
        finally:
            self._hashing -= 1


def _text_bytes(inputs: Arrays) -> int:
    return sum(len(element) for array in inputs.values() if array.dtype == np.object_ for element in array.ravel())
