"""What the scenario's levels and policies mean for one client: the same rules once more, written from the documents."""

from __future__ import annotations

import math
from typing import Any, Protocol

from service.batching.contract import WaitPolicy
from tests.unit.batching.scenario import Request, Scenario

MS = 0.001


class Client(Protocol):
    """As much of a client as these rules need."""

    request: Request
    came_s: float
    turn: int
    started_s: float


def knobs(scenario: Scenario) -> dict[str, Any]:
    """The configuration of a scenario's levels and policies."""
    wait_s = None if scenario.default_wait_ms is None else scenario.default_wait_ms * MS
    usual = WaitPolicy(scenario.max_queue, wait_s, scenario.allows_timeout, scenario.delays)
    best = {1: WaitPolicy(scenario.max_queue, delays=True)} if scenario.levels and scenario.best_delays else {}
    return {
        "waiting": usual,
        "levels": scenario.levels,
        "level_waiting": best,
        "keeps_order": scenario.keeps_order,
    }


class Patience:
    """Whose turn it is, and how long who may wait."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def level(self, client: Client) -> int:
        levels, asked = self.scenario.levels, client.request.priority
        if levels == 0:
            return 0
        return asked if asked in range(1, levels + 1) else {2: 1, 3: 2}[levels]

    def delays(self, client: Client) -> bool:
        return True if self._own(client) else self.scenario.delays

    def until_s(self, client: Client) -> float:
        """When its time to wait is over."""
        own = self._own(client)
        default_ms = None if own else self.scenario.default_wait_ms
        asked_ms = client.request.timeout_ms if own or self.scenario.allows_timeout else None
        given = [ms for ms in (default_ms, asked_ms) if ms is not None]
        return client.came_s + min(given) * MS if given else math.inf

    def rejected_s(self, client: Client) -> float:
        return math.inf if self.delays(client) else self.until_s(client)

    def in_doubt(self, client: Client, now_s: float) -> bool:
        """Whether its time to wait is over at this very instant: rounding says which comes first."""
        return abs(self.until_s(client) - now_s) < 1e-6

    def place(self, client: Client, now_s: float) -> tuple[float, bool, float]:
        """Less is sooner; those that are delayed go by when they were, and what has begun is not."""
        until_s = self.until_s(client)
        delayed = self.delays(client) and until_s <= now_s and client.started_s >= until_s
        return self.level(client), delayed, until_s if delayed else client.came_s

    def _own(self, client: Client) -> bool:
        return self.scenario.best_delays and self.level(client) == 1
