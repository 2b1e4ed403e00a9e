"""What a scenario is: who sends what and when, who leaves, which runs go wrong, and when the batcher itself breaks."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes import Act


@dataclass(frozen=True)
class Request:
    """One client: comes, perhaps leaves."""

    at_ms: int = 0
    rows: int | None = 1
    width: int = 1
    budget_ms: int | None = None
    leaves_after_ms: int | None = None
    bad: bool = False
    origin: str = ""
    priority: int = 0
    timeout_ms: int | None = None


@dataclass(frozen=True)
class Scenario:
    """What happens."""

    requests: tuple[Request, ...]
    acts: tuple[Act, ...] = ()
    engines: int = 1
    max_rows: int = 4
    delay_ms: int = 0
    preferred: tuple[int, ...] = ()
    max_queue: int = 64
    default_wait_ms: int | None = None
    allows_timeout: bool = True
    delays: bool = False
    levels: int = 0
    best_delays: bool = False  # level 1 has a policy of its own: no default, and DELAY
    keeps_order: bool = False
    mixes: bool = True
    seeded: bool = True
    replaces: bool = True
    failed_replacements: int = 0
    crashes_at: frozenset[int] = frozenset()  # numbers of pumps
    close_at_ms: int = 200
    drain: bool = True
