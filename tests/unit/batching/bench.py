"""A production Batcher in manual time, for tests that tell one story each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from service.batching.batcher import Batcher
from service.batching.contract import Answer, BatchConfig, WaitPolicy
from service.batching.curve import CostCurve
from service.batching.seams import BatcherSeams
from service.core.deadline import Deadline
from tests.fakes import FakeEngine, ManualLoop, ManualThreads, RecordingObserver, ids, run_manually

RUN_TIMEOUT_S = 10.0
GRACE_S = 2.0


class Bench:
    """The batcher, its engines, and what it told."""

    def __init__(
        self,
        loop: ManualLoop,
        *engines: FakeEngine,
        replace: Callable[[], FakeEngine] | None = None,
        on_pump: Callable[[], None] = lambda: None,
        observer: Any = None,
        start: bool = True,
        **knobs: Any,
    ) -> None:
        self.loop = loop
        self.engines = engines or (FakeEngine(),)
        self.threads = ManualThreads(loop)
        self.observer = observer or RecordingObserver()
        self.fatal: list[str] = []
        self.curve = CostCurve(knobs.get("max_rows", 32))
        waiting = {name: knobs.pop(name) for name in WaitPolicy.__slots__ if name in knobs}
        self.batcher = Batcher(
            self.engines,
            BatchConfig(waiting=WaitPolicy(**waiting), **knobs),
            self.curve,
            clock=loop.clock,
            observer=self.observer,
            replace=None if replace is None else lambda _lost: replace(),
            on_fatal=self.fatal.append,
            run_timeout_s=RUN_TIMEOUT_S,
            seams=BatcherSeams(self.threads, on_pump, GRACE_S, 0.2),
        )
        if start:
            self.batcher.start()

    def submit(
        self,
        first: int,
        rows: int | None = 1,
        *,
        within_s: float = math.inf,
        origin: str = "",
        width: int = 2,
        quiet: bool = False,
        priority: int = 0,
        timeout_s: float | None = None,
    ) -> asyncio.Task[Answer]:
        """Submits ids first, first + 1, ... on a task of its own."""
        deadline = Deadline(self.loop.time() + within_s)
        inputs = ids(first, 1 if rows is None else rows, width)
        wish = {"origin": origin, "quiet": quiet, "priority": priority, "timeout_s": timeout_s}
        return asyncio.ensure_future(self.batcher.submit(inputs, rows, deadline, **wish))  # type: ignore[arg-type]

    def bad(self, origin: str = "") -> asyncio.Task[Answer]:
        """Submits a row that every engine fails on."""
        return self.submit(-7, origin=origin)

    def now_s(self) -> float:
        """Seconds since the start."""
        return round(self.loop.time() - 1000.0, 6)

    @property
    def batches(self) -> list[list[float]]:
        """The first column of every batch that reached an engine."""
        return [batch[:, 0].tolist() for engine in self.engines for batch in engine.batches]


def row(task: asyncio.Task[Answer]) -> list[float]:
    """The first column of an answer."""
    return task.result().outputs["y"][:, 0].tolist()  # type: ignore[no-any-return]


async def outcome(task: asyncio.Task[Answer]) -> Any:
    """The answer's first column, or the error."""
    await asyncio.wait([task])
    error = task.exception()
    return row(task) if error is None else error


def play(body: Callable[[ManualLoop], Awaitable[Any]]) -> None:
    """Runs a story in manual time; an exception that only the loop hears of fails it too."""
    unheard: list[Any] = []

    async def main(loop: ManualLoop) -> None:
        loop.set_exception_handler(lambda _, context: unheard.append(context["message"]))
        await body(loop)

    run_manually(main)
    assert [message for message in unheard if not message.startswith("Task exception")] == []
