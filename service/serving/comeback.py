"""Loads a model again and again, ever more slowly, while the remote server that runs it is away at its load.

Whatever else keeps a model from loading is not tried again: an operator has to change something first. Owned by the
event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from service.core.clock import Clock
from service.core.errors import RetortError
from service.serving.entry import Entry

TICK_S = 0.5
FIRST_S = 1.0
LONGEST_S = 30.0


class Comeback:
    """Watches over models whose remote server was away.

    Args:
        entries: every model.
        load: loads one by its name, as an operator would.
        clock: monotonic seconds.
    """

    def __init__(
        self, entries: Callable[[], Iterable[Entry]], load: Callable[[str], Awaitable[None]], clock: Clock
    ) -> None:
        self._entries = entries
        self._load = load
        self._clock = clock
        self._waits: dict[str, tuple[float, float]] = {}  # model -> when it is tried again, and the wait after that

    async def watch(self) -> None:
        """Tries, for ever; run it under a supervisor."""
        while True:
            await self.tick()
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """Tries those whose time has come, at once; returns when they have loaded, or not."""
        away = {entry.name: entry for entry in self._entries() if _is_away(entry)}
        self._waits = {name: wait for name, wait in self._waits.items() if name in away}
        now_s = self._clock.now_s()
        due: list[str] = []
        for name, entry in away.items():
            at_s, wait_s = self._waits.setdefault(name, (now_s + FIRST_S, 2 * FIRST_S))
            if now_s >= at_s and entry.operations.running is None:  # an operator's own operation comes first
                self._waits[name] = (now_s + wait_s, min(2 * wait_s, LONGEST_S))
                due.append(name)
        await asyncio.gather(*(self._try(name) for name in due))

    async def _try(self, name: str) -> None:
        with suppress(RetortError):  # the load has logged it, and the model's entry shows it
            await self._load(name)


def _is_away(entry: Entry) -> bool:
    """Whether a version of `entry` is missing for a reason that may pass by itself."""
    if entry.config is None or entry.config.runner is None:
        return False
    return any(slot.passing and slot.servable is None for slot in entry.slots.values())
