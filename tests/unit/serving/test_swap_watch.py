"""A swap that is watched reverts by itself when the new version fails too often, and for no other reason."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import numpy as np
import pytest

from service.core.errors import RetortError
from service.serving.catalog import Catalog
from tests.unit.serving import models
from tests.unit.serving.house import House, ask, entry_of, servable_of, until

ROWS = models.rows(1, 2, 3)


def swaps(catalog: Catalog) -> Counter[str]:
    return +catalog.model_statistics()[0].swaps


async def fail(catalog: Catalog, count: int) -> None:
    """Requests whose answer is not finite, which the version promised never to give."""
    answers = [ask(catalog, x=models.rows(0)) for _ in range(count)]
    await asyncio.gather(*answers, return_exceptions=True)


async def watched(house: House, **more: float) -> Catalog:
    """Version 1 (x 2) was active; version 2, infinite where x is 0, was just swapped in and is watched."""
    house.put("1", models.scales(2.0))
    house.put("2", models.inverts())
    house.configure(active="1", finite_outputs=True)
    catalog = await house.started()
    await catalog.swap("m", "2", **more)
    return catalog


async def test_a_watched_swap_reverts_when_its_errors_exceed_the_rate(house: House) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.5)
    await fail(catalog, 30)
    await until(lambda: catalog.active_version("m") == "1")
    assert np.array_equal((await ask(catalog, x=models.rows(0))).outputs["y"], models.rows(0))
    await until(lambda: "reverted" in swaps(catalog))
    assert swaps(catalog) == {"swapped": 1, "reverted": 1}
    [line] = house.logged("swap reverts by itself")
    assert (line["version"], line["failed"], line["answered"]) == ("2", 30, 0)


async def test_a_watched_swap_that_keeps_within_the_rate_stays(house: House) -> None:
    catalog = await watched(house, watch_s=0.2, max_error_rate=0.5)
    for _ in range(25):
        await ask(catalog, x=models.rows(1))
    await fail(catalog, 5)
    await until(lambda: not catalog._watches._tasks)
    assert catalog.active_version("m") == "2"
    assert swaps(catalog) == {"swapped": 1}


async def test_without_a_watch_nothing_reverts(house: House) -> None:
    catalog = await watched(house)
    await fail(catalog, 30)
    await asyncio.sleep(0.25)
    assert catalog.active_version("m") == "2"


async def test_bad_requests_do_not_speak_against_the_version(house: House) -> None:
    catalog = await watched(house, watch_s=0.3)
    await asyncio.gather(*(ask(catalog, z=ROWS) for _ in range(50)), return_exceptions=True)
    await until(lambda: not catalog._watches._tasks)
    assert catalog.active_version("m") == "2"


@pytest.mark.parametrize("operation", ["swap", "rollback", "unload"])
async def test_a_newer_operation_ends_the_watch(house: House, operation: str) -> None:
    catalog = await watched(house, watch_s=30.0)
    if operation == "swap":
        await catalog.swap("m", "2")
    else:
        await (catalog.rollback if operation == "rollback" else catalog.unload)("m")
    assert not catalog._watches._tasks


@pytest.mark.parametrize("version", ["9", "broken"])
async def test_a_swap_that_fails_leaves_the_watch_of_the_one_before(house: House, version: str) -> None:
    house.put("broken", b"no model")
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.5)
    with pytest.raises(RetortError):
        await catalog.swap("m", version)
    await fail(catalog, 30)
    await until(lambda: "reverted" in swaps(catalog))
    assert catalog.active_version("m") == "1"


async def test_a_rollback_that_fails_leaves_the_watch_of_the_swap_before(house: House) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.5)
    entry_of(catalog).previous = "9"
    with pytest.raises(RetortError):
        await catalog.rollback("m")
    assert catalog._watches._tasks


async def test_a_revert_that_comes_too_late_leaves_the_newer_choice(house: House) -> None:
    catalog = await watched(house)
    house.put("3", models.scales(5.0))
    old = entry_of(catalog).active
    await catalog.swap("m", "2", watch_s=30.0, max_error_rate=0.0)
    entry_of(catalog).active = servable_of(catalog, "1")  # as an operation would that began as the watch ended
    answers = [ask(catalog, version="2", x=models.rows(0)) for _ in range(25)]
    await asyncio.gather(*answers, return_exceptions=True)
    await until(lambda: not catalog._watches._tasks)
    await asyncio.sleep(0.05)
    assert entry_of(catalog).active is not old
    assert "reverted" not in swaps(catalog)


async def test_a_revert_whose_turn_comes_after_another_swap_leaves_that_one(house: House) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.0)
    entry, under_way = entry_of(catalog), asyncio.Event()

    async def swap_back() -> None:
        await under_way.wait()
        entry.active, entry.previous = servable_of(catalog, "1"), "2"

    swapping = asyncio.ensure_future(entry.operations.run("swap to '1'", swap_back))
    await fail(catalog, 25)
    await until(lambda: entry.operations._waiting is not None)
    under_way.set()
    await swapping
    await until(lambda: entry.operations.running is None)
    assert catalog.active_version("m") == "1"
    assert "reverted" not in swaps(catalog)


async def test_a_revert_that_fails_is_counted_and_told(house: House) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.0)
    entry_of(catalog).previous = "gone"
    await fail(catalog, 25)
    await until(lambda: "revert_failed" in swaps(catalog))
    assert catalog.active_version("m") == "2"
    assert "no version 'gone'" in house.logged("revert failed")[0]["reason"]


async def test_a_revert_that_meets_an_unexpected_error_is_counted_and_told_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.0)

    async def planted(_entry: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(catalog._lifecycle, "rollback", planted)
    await fail(catalog, 25)
    await until(lambda: "revert_failed" in swaps(catalog))
    assert "planted" in str(house.logged("revert failed")[0]["exc_info"])


async def test_a_watch_begins_before_the_old_version_has_drained(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.inverts())
    house.configure(active="1", versions="active", finite_outputs=True)
    catalog = await house.started()
    old = servable_of(catalog, "1")
    lease = ExitStack()
    lease.enter_context(old)
    swap = asyncio.ensure_future(catalog.swap("m", "2", watch_s=30.0, max_error_rate=0.5))
    await until(lambda: catalog.active_version("m") == "2")
    await asyncio.gather(*(ask(catalog, x=models.rows(0)) for _ in range(40)), return_exceptions=True)
    await until(lambda: not catalog._watches._tasks)
    assert not swap.done()
    lease.close()
    await swap
    await until(lambda: catalog.active_version("m") == "1")


async def test_a_watch_outlives_a_reload_of_what_it_watches(house: House) -> None:
    catalog = await watched(house, watch_s=30.0, max_error_rate=0.5)
    house.configure(active="1", finite_outputs=True, max_batch_size=16)
    await catalog.load("m")
    await asyncio.gather(*(ask(catalog, x=models.rows(0)) for _ in range(40)), return_exceptions=True)
    await until(lambda: catalog.active_version("m") == "1")
