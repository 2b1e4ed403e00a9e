"""What a test need not race with: runs that last until they are let go, and loads whose time it ends itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from service.core.contract import Array, Arrays
from service.runtime.onnx import OnnxRunner
from service.serving import load_job


class HeldRuns:
    """Runs that have `begun` and last until `go`, deaf to any stop."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()


@contextmanager
def held_runs(runners: Sequence[OnnxRunner]) -> Iterator[HeldRuns]:
    """Holds every run of these runners; those of others, such as are built later, go through."""
    held, holds, run = tuple(runners), HeldRuns(), OnnxRunner.run

    def holding(runner: OnnxRunner, arrays: Arrays) -> dict[str, Array]:
        if any(runner is one for one in held):
            holds.begun.set()
            holds.go.wait(60)
        return run(runner, arrays)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OnnxRunner, "run", holding)
        try:
            yield holds
        finally:
            holds.go.set()


class _WaitsFor:
    """In the place of asyncio in `load_job`: the first wait of a load, for its end, ends with `over` or the load."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def wait(self, tasks: set[asyncio.Future[Any]], **more: Any) -> Any:
        if "return_when" not in more:  # the grace
            return await asyncio.wait(tasks, **more)
        over = asyncio.ensure_future(self._over.wait())
        done = await asyncio.wait({*tasks, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        return done


@contextmanager
def loads_last_until(over: asyncio.Event) -> Iterator[None]:
    """The time of every load that begins in the block is over then, and not before, however slow the machine is."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(load_job, "asyncio", _WaitsFor(over))
        yield
