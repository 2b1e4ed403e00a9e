"""What a test need not race with: runs that last until they are let go, a time for loads that is cut short later."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from service.core.contract import Array, Arrays
from service.runtime.onnx import OnnxRunner
from service.serving.catalog import Catalog


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


@contextmanager
def load_timeout(catalog: Catalog, seconds: float) -> Iterator[None]:
    """Gives every load begun in the block this long; the first loads, which must succeed, had the usual time."""
    loader = catalog._lifecycle._loader
    usual = loader._options
    loader._options = dataclasses.replace(usual, load_timeout_s=seconds)
    try:
        yield
    finally:
        loader._options = usual
