"""How many sequences of a stateful version began, ended, were forgotten, and are open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class SequenceCounts:
    """Counts of one version.

    Attributes:
        started: sequences begun, restarts included.
        ended: by their end, by a restart, by the server, or for want of a place.
        expired: forgotten because they were without a request for too long.
        open: how many there are now; None for a version that keeps no state.
    """

    started: int = 0
    ended: int = 0
    expired: int = 0
    open: Callable[[], int] | None = None

    def known(self, count: int) -> int | None:
        """`count` for a version that keeps state, None for every other."""
        return count if self.open is not None else None
