"""Isolated runners for one test, from one cradle for a module."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from service.core.clock import MonotonicClock
from service.runtime.isolation.nursery import Nursery
from service.runtime.isolation.process_runner import ProcessRunner
from service.runtime.isolation.recipe import Recipe
from tests.unit.runtime.isolation.runners import CPU, MIB, Make


@pytest.fixture(scope="module")
def nursery() -> Nursery:
    return Nursery()


@pytest.fixture
def make(nursery: Nursery) -> Iterator[Make]:
    """Makes runners, and closes them."""
    made: list[ProcessRunner] = []

    def build(onnx: bytes, memory_mib: int | None = None, clock: Any = None, **more: Any) -> ProcessRunner:
        recipe = Recipe(onnx, more.pop("external", {}), CPU, memory_mib * MIB if memory_mib else None)
        more = {"cancel": threading.Event(), "load_timeout_s": 30.0, **more}
        made.append(ProcessRunner(recipe, nursery, 0, clock=clock or MonotonicClock(), **more))
        return made[-1]

    yield build
    for runner in made:
        runner.close()
