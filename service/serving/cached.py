"""Answers a request from the cache where it can, and otherwise runs it and keeps the answer; counts hits and misses.

Never holds the loop up: large inputs are hashed, and large answers copied, on threads. There are few of them, and while
they are busy a request goes past the cache. Of requests that miss together each runs: the last answer stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np

from service.batching.contract import Answer
from service.core.contract import NO_TIME, Arrays
from service.core.errors import Unavailable
from service.core.finite import not_finite
from service.observe.statistics import VersionStatistics
from service.serving.response_cache import Copy, ResponseCache, key_of
from service.serving.threads import in_thread

# Measured: about 1 ns a byte, and 0.2 us a text. The loop may stand still for some 0.1 ms.
INLINE_BYTES = 128 << 10
INLINE_TEXTS = 512
THREADS = 2

T = TypeVar("T")


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
        self._busy = 0
        self._loop = asyncio.get_running_loop()
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
        await self._keep(key, answer.outputs)
        self._statistics.cache_miss.add(looked_up_ns + time.perf_counter_ns() - began_ns)
        return answer, False

    async def _key(self, inputs: Arrays) -> bytes | None:
        """The key of `inputs`; None for a request that goes past the cache."""
        if _is_small(inputs):
            return key_of(inputs)
        return await self._beside("hash of a request", lambda: key_of(inputs))

    async def _keep(self, key: bytes, outputs: Arrays) -> None:
        """Keeps a finite answer; none that is large while the threads are busy."""

        def copied() -> Copy | None:
            return None if any(map(not_finite, outputs.items())) else self.kept.copy_of(outputs)

        self.kept.enter(key, copied() if _is_small(outputs) else await self._beside("copy of an answer", copied))

    async def _beside(self, name: str, work: Callable[[], T]) -> T | None:
        """Does what would hold the loop up on a thread; None where enough of them are busy, or none is to be had."""
        if self._busy >= THREADS:
            return None
        self._busy += 1

        def counted() -> T:
            try:
                return work()
            finally:
                self._loop.call_soon_threadsafe(self._free)  # not when the wait ends: clients may leave

        try:
            return await in_thread(name, counted)
        except Unavailable:  # no thread is to be had, so that nothing will count it down
            self._free()
            return None

    def _free(self) -> None:
        self._busy -= 1


def _is_small(arrays: Arrays) -> bool:
    """Whether arrays are hashed or copied on the loop."""
    texts = sum(array.size for array in arrays.values() if array.dtype == np.object_)
    in_bytes = sum(array.nbytes for array in arrays.values())
    if texts == 0:
        return in_bytes <= INLINE_BYTES
    return texts <= INLINE_TEXTS and _text_bytes(arrays) + in_bytes <= INLINE_BYTES


def _text_bytes(inputs: Arrays) -> int:
    return sum(len(element) for array in inputs.values() if array.dtype == np.object_ for element in array.ravel())
