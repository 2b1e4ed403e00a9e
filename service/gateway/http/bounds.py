"""What the connections of one HTTP server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.gateway.http.heads import Heads
from service.gateway.http.limits import Limits
from service.gateway.http.sweeper import Sweeper


@dataclass(frozen=True, slots=True)
class Bounds:
    """See the module.

    Attributes:
        limits: of each.
        sweeper: judges them; its clock is theirs.
        refused: is told the status of each answer that is given here, before any handler.
        heads: those that are known.
    """

    limits: Limits
    sweeper: Sweeper
    refused: Callable[[int], None]
    heads: Heads
