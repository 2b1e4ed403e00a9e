"""Who is turned away before it is read, who is not, and that each is counted once (O1, N3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.core.contract import InferRequest, ModelRef
from service.core.deadline import Deadline
from service.core.errors import Rejected
from service.serving.catalog import Catalog
from service.serving.refusal import turn_away
from service.serving.servable import Servable
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.house import House

REF = ModelRef("m", None)
LONG = 10_000_000


async def full(house: House, **config: Any) -> tuple[Catalog, Servable, list[asyncio.Task[Any]]]:
    """A version with one request that runs and one that fills its queue."""
    queueing = {"max_queue_size": 1, **config.pop("dynamic_batching", {})}
    house.put("1", graphs.loop())
    house.configure(dynamic_batching=queueing, max_batch_size=1, warmup=False, **config)
    catalog = await house.started()
    servable = next(iter(catalog.loaded()))
    tasks = []
    for _ in range(2):
        request = InferRequest(models.turns(LONG))
        tasks.append(asyncio.ensure_future(servable.infer(request, Deadline.never())))
        await asyncio.sleep(0.05)
    return catalog, servable, tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_while_nobody_is_let_in_a_request_is_turned_away_and_counted_once(house: House) -> None:
    catalog, servable, tasks = await full(house)
    with pytest.raises(Rejected, match="the queue is full"):
        turn_away(catalog, REF)
    assert servable.statistics.failures["REJECTED"].count == 1
    assert servable.statistics.refusals["full"] == 1
    assert servable.leases == 0, "the requests of this test hold none"
    await ended(tasks)


async def test_a_request_that_may_be_let_in_passes_and_is_counted_nowhere(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    turn_away(catalog, REF)
    [servable] = catalog.loaded()
    assert servable.statistics.success.count == 0
    assert not any(failure.count for failure in servable.statistics.failures.values())


@pytest.mark.parametrize("name", ["nobody", "m"])
async def test_what_is_not_there_is_told_so_later(house: House, name: str) -> None:
    turn_away(await house.started(), ModelRef(name, "7"))


@pytest.mark.parametrize(
    "config",
    [{"response_cache": {}}, {"dynamic_batching": {"priority_levels": 2}}],
    ids=["it may be answered from the cache", "it must say its level first"],
)
async def test_who_may_still_be_let_in_is_read(house: House, config: dict[str, Any]) -> None:
    catalog, _, tasks = await full(house, **config)
    turn_away(catalog, REF)
    await ended(tasks)
