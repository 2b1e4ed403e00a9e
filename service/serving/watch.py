"""Watches a version that was just swapped in, and says when its errors exceed what the operator allowed.

The operator's insurance at a swap: seconds in which it reverts by itself. Only failures that speak against the
version count (`failures.BACKEND`), not bad input, rejects or clients that left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.observe.statistics import VersionStatistics
from service.serving.failures import BACKEND

DEFAULT_MAX_ERROR_RATE = 0.01
LEAST_REQUESTS = 20
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests that a version answered, and failed by its own fault, up to a moment."""

    answered: int
    failed: int

    @classmethod
    def of(cls, statistics: VersionStatistics) -> Tally:
        """The tally now."""
        return cls(statistics.success.count, statistics.failures[BACKEND].count)

    def since(self, earlier: Tally) -> Tally:
        """What came after `earlier`."""
        return Tally(self.answered - earlier.answered, self.failed - earlier.failed)

    def exceeds(self, max_error_rate: float, *, least_requests: int) -> bool:
        """Whether there are enough requests to judge, and too many of them failed."""
        total = self.answered + self.failed
        return total >= least_requests and self.failed > max_error_rate * total


async def exceeds_within(statistics: VersionStatistics, watch_s: float, max_error_rate: float) -> Tally | None:
    """Watches for `watch_s` seconds.

    Returns:
        The tally that exceeds `max_error_rate`, as soon as `LEAST_REQUESTS` show it or at the end with fewer; None
        when the version kept within it.
    """
    start = Tally.of(statistics)
    end_s = asyncio.get_running_loop().time() + watch_s
    while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(TICK_S, left_s))
        tally = Tally.of(statistics).since(start)
        if tally.exceeds(max_error_rate, least_requests=LEAST_REQUESTS):
            return tally
    tally = Tally.of(statistics).since(start)
    return tally if tally.exceeds(max_error_rate, least_requests=1) else None


class Watches:
    """At most one watch a model; a newer swap, rollback or unload of the model ends the older watch."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(
        self,
        model: str,
        statistics: VersionStatistics,
        watch_s: float,
        max_error_rate: float,
        revert: Callable[[Tally], Awaitable[None]],
    ) -> None:
        """Awaits `revert` with the tally when the version of `statistics` exceeds `max_error_rate` within `watch_s`."""

        async def watch() -> None:
            tally = await exceeds_within(statistics, watch_s, max_error_rate)
            self._tasks.pop(model, None)  # from here on a new operation supersedes the revert, not the watch
            if tally is not None:
                await revert(tally)

        self.stop(model)
        self._tasks[model] = asyncio.get_running_loop().create_task(watch(), name=f"watch {model}")

    def stop(self, model: str) -> None:
        """Ends the watch of `model`, if there is one."""
        task = self._tasks.pop(model, None)
        if task is not None:
            task.cancel()

    def stop_all(self) -> None:
        """Ends every watch."""
        for model in list(self._tasks):
            self.stop(model)
