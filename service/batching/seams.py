"""Where tests and fault injection get into a batcher: arguments of its constructor, never environment switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.batching.engine_thread import Threads


def no_fault() -> None:
    """The fault hook of a batcher without faults."""


@dataclass(frozen=True, slots=True)
class BatcherSeams:
    """What stands in place of the usual parts.

    Attributes:
        threads: where engines run; None for real threads.
        on_pump: called before batches are formed; what it raises is a crash of the batcher.
        stop_grace_s: how long an engine may take to obey a request to stop.
        restart_after_s: pause after a crash, during which requests are refused.
    """

    threads: Threads | None = None
    on_pump: Callable[[], None] = no_fault
    stop_grace_s: float = 2.0
    restart_after_s: float = 0.2


USUAL = BatcherSeams()
