"""What finding a model costs is the same among two and among two hundred, and nothing is held up by their number."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from service.core.contract import ModelRef
from service.core.errors import NotFound
from service.observe.collector import StatisticsCollector
from service.observe.exposition import pieces
from service.serving import readiness
from service.serving.catalog import Catalog
from service.serving.entry import Entry
from service.serving.readiness import TICK_S, Health
from tests.unit.serving import models
from tests.unit.serving.house import House

FEW, MANY = 2, 200
MARGIN = 3.0  # what is linear would be 100
ROUNDS, TIMES = 9, 300
TRIES = 5  # other work on the machine may spoil some of them


async def loaded(house: House, count: int) -> Catalog:
    """A catalog of so many models."""
    for number in range(count):
        house.put("1", models.scales(2.0), model=f"m{number}")
    return await house.started()


def least_s(step: Callable[[], Any]) -> float:
    """Processor time of one, the least of some rounds."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for _ in range(TIMES):
            step()
        best_s = min(best_s, time.thread_time() - began_s)
    return best_s


def lookup(catalog: Catalog, number: int) -> Callable[[], None]:
    """What the gateway does with each request's name."""
    ref = ModelRef(f"m{number}")

    def step() -> None:
        with catalog.lease(ref):
            pass
        catalog.ready(ref.name)

    return step


@pytest.mark.parametrize("before", [0, 1, 5, 20])
async def test_a_scrape_goes_on_while_models_are_unloaded(house: House, before: int) -> None:
    catalog = await loaded(house, 20)
    machine = SimpleNamespace(
        read=lambda: SimpleNamespace(cpu_utilization=0, memory_total_bytes=1, memory_used_bytes=1)
    )
    families = StatisticsCollector(catalog.counters, catalog.model_statistics, {}, {}, machine, {}).collect()  # type: ignore[arg-type]
    text = pieces(families)
    read = [next(text) for _ in range(before)]
    for name in catalog.models():
        await catalog.unload(name)
    written = "".join([*read, *text])
    assert (
        written.count("\nnv_inference_request_success{") == written.count("\nnv_inference_pending_request_count{") == 20
    )
    assert 'retort_models{state="ready"} 0' in written


async def growths(house: House) -> list[float]:
    """How many times as much a lookup costs among many models as among few, measured by turns."""
    few, many = lookup(await loaded(house, FEW), FEW - 1), lookup(await loaded(house, MANY), MANY - 1)
    return [least_s(many) / least_s(few) for _ in range(TRIES)]


async def test_finding_a_model_costs_the_same_among_two_hundred(house: House) -> None:
    assert min(await growths(house)) < MARGIN


async def test_a_catalog_that_is_searched_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""

    def search(self: Catalog, model: str) -> Entry:
        for entry in self.entries():
            if entry.name == model:
                return entry
        raise NotFound(model)

    monkeypatch.setattr(Catalog, "_entry", search)
    assert max(await growths(house)) > MARGIN


class Hearts:
    """So many models with a heart each, and in the place of the probes' sleep what notes how many beat in between."""

    def __init__(self, count: int) -> None:
        self.beaten = [0] * count
        self.at_once: list[int] = []
        self.slept_s = 0.0
        self._before = 0
        self._models = [
            SimpleNamespace(heart=SimpleNamespace(tick=lambda number=number: self._beat(number)))
            for number in range(count)
        ]

    def entries(self) -> list[Any]:
        return self._models

    def _beat(self, number: int) -> None:
        self.beaten[number] += 1

    async def sleep(self, seconds: float) -> None:
        beats = sum(self.beaten)
        self.at_once.append(beats - self._before)
        self._before = beats
        self.slept_s += seconds
        if self.slept_s > 3.99 * TICK_S:
            raise asyncio.CancelledError


async def beats(monkeypatch: pytest.MonkeyPatch, count: int) -> Hearts:
    hearts = Hearts(count)
    monkeypatch.setattr(readiness, "asyncio", SimpleNamespace(sleep=hearts.sleep))
    with pytest.raises(asyncio.CancelledError):
        await Health(hearts, None).probe()  # type: ignore[arg-type]
    return hearts


@pytest.mark.parametrize("count", [0, 1, 3, 5, 200])
async def test_every_heart_beats_once_a_tick_and_few_at_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    hearts = await beats(monkeypatch, count)
    assert hearts.beaten == [4] * count
    assert max(hearts.at_once) <= readiness._AT_ONCE


async def test_hearts_that_beat_all_at_once_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    monkeypatch.setattr(readiness, "_AT_ONCE", 1000)
    assert max((await beats(monkeypatch, 200)).at_once) == 200
