"""Is this server ready? Started, not draining, and every required model's probe answers.

The probes run under a supervisor for as long as the server does. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from service.core.errors import NotFound
from service.serving.catalog import Catalog
from service.serving.reports import READY, Readiness

TICK_S = 0.5  # a frozen runner is found out within 2 s, and probes cost a version two rows a second
_AT_ONCE = 16  # probes begun in one turn of the loop: all of 200 would hold requests up for 30 ms, 4 cost a third more


class Health:
    """What stands between "the process runs" and "send it traffic".

    Args:
        catalog: whose models must answer.
        required: models that readiness waits for; None takes those that are ready when `started` is called.
    """

    def __init__(self, catalog: Catalog, required: Sequence[str] | None) -> None:
        self._catalog = catalog
        self._required = None if required is None else tuple(required)
        self._state = "starting"

    def started(self) -> None:
        """Everything that could be loaded is loaded; a server that drains by then drains on."""
        if self._required is None:
            names = self._catalog.models()
            self._required = tuple(name for name in names if self._catalog.ready(name).ok)
        if self._state == "starting":
            self._state = "ready"

    def draining(self) -> None:
        """The server will stop: ready no more, whatever the models say."""
        self._state = "draining"

    def live(self) -> Readiness:
        """Whether the process answers at all; the asking proves it."""
        return Readiness(True)

    def ready(self) -> Readiness:
        """Whether the server should get traffic."""
        if self._state != "ready":
            return Readiness(False, f"the server is {self._state}")
        if not self._required:
            return self._any_of(self._catalog.models())
        for name in self._required:
            try:
                one = self._catalog.ready(name)
            except NotFound:
                return Readiness(False, f"model '{name}' is required and not in the repository")
            if not one.ok:
                return one
        return READY

    def _any_of(self, known: Sequence[str]) -> Readiness:
        """Where nothing is required because nothing loaded, a server that serves nothing should get no traffic."""
        if not known or any(self._catalog.ready(name).ok for name in known):
            return READY
        return Readiness(False, "no model could be loaded")

    async def probe(self) -> None:
        """Ticks the probe of every active version, few at a time, for ever; run it under a supervisor."""
        while True:
            beating = [entry for entry in self._catalog.entries() if entry.heart is not None]
            turns = max(1, math.ceil(len(beating) / _AT_ONCE))
            for turn in range(turns):
                for entry in beating[turn::turns]:
                    if entry.heart is not None:  # a swap may have taken it since
                        entry.heart.tick()
                await asyncio.sleep(TICK_S / turns)
