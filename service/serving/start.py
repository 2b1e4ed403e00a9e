"""Loads every model at the start: so many at once, those first that readiness waits for, and tells how far it has come.

What loads one is told, and does not raise. Owned by the event loop's thread. Knows nothing of versions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

from service.observe.logs import Log
from service.serving.entry import Entry

TOLD_EVERY_S = 2.0


async def load_all(
    entries: Sequence[Entry],
    load: Callable[[Entry], Awaitable[None]],
    *,
    first: Collection[str],
    at_once: int,
    log: Log,
) -> None:
    """Returns when all have been loaded, or not.

    Args:
        entries: of all models.
        load: loads one.
        first: names of those whose turn comes before that of the others.
        at_once: so many have their turn at the same time; a load computes, and may hold a child process in memory.
        log: gets a line at the begin, at the end, and now and then in between.
    """
    turn, progress = asyncio.Semaphore(at_once), _Progress(len(entries), log)
    for entry in entries:
        entry.waits = True

    async def in_turn(entry: Entry) -> None:
        async with turn:
            entry.waits = False
            await load(entry)
        progress.ended(entries)

    log.info("models loading", models=len(entries), at_once=at_once)
    await asyncio.gather(*(in_turn(entry) for entry in sorted(entries, key=lambda entry: entry.name not in first)))
    progress.tell(entries)


class _Progress:
    """What is told of a start."""

    def __init__(self, count: int, log: Log) -> None:
        self._count = count
        self._log = log
        self._ended = 0
        self._began_s = self._told_s = time.monotonic()

    def ended(self, entries: Sequence[Entry]) -> None:
        """One has been loaded, or not."""
        self._ended += 1
        if time.monotonic() - self._told_s >= TOLD_EVERY_S and self._ended < self._count:
            self.tell(entries)

    def tell(self, entries: Sequence[Entry]) -> None:
        """How many have ended, which are under way, and since when."""
        self._told_s = time.monotonic()
        under_way = [entry.name for entry in entries if entry.standing == "loading"]
        failed = sum(entry.standing == "unavailable" for entry in entries)
        self._log.info(
            "models loaded",
            done=self._ended,
            of=self._count,
            failed=failed,
            under_way=under_way,
            seconds=round(self._told_s - self._began_s, 1),
        )
