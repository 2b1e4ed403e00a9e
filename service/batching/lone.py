"""Whether requests come one by one: then a quick run is done at once, without the turn of the loop that gathers others.

A turn costs a lone client more than the run of a tiny network does. Two requests in one turn end this: from then on
they are gathered again. Knows nothing of queues; whoever asks has seen that nobody waits and that an engine is idle.
"""

from __future__ import annotations

import asyncio

from service.batching.run import Run

ENOUGH = 8  # runs of one request in a row, each done on the loop


class Lone:
    """The judge of a batcher's requests.

    Args:
        loop: whose turns count.
    """

    __slots__ = ("_in_a_row", "_loop", "_taken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._in_a_row = 0
        self._taken = False  # somebody, in this turn

    def learn(self, run: Run, *, done: bool) -> None:
        """Notes how many ran together, and whether that was done on the loop."""
        self._in_a_row = self._in_a_row + 1 if done and len(run.pieces) == 1 else 0

    def take(self) -> bool:
        """Whether a newcomer should be run at once; asked for each, for it tells two in one turn."""
        if self._in_a_row < ENOUGH:
            return False
        if self._taken:
            self._in_a_row = 0
            return False
        self._taken = True
        self._loop.call_soon(self._turn)
        return True

    def _turn(self) -> None:
        self._taken = False
