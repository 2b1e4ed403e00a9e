"""A swap: the gate, the golden cases, then the pointer; and the way back."""

import asyncio
from collections import Counter

import numpy as np
import pytest

from service.core.contract import ModelRef
from service.core.cpu import cpu_class
from service.core.errors import BadInput, Conflict, NotFound, Refused
from service.observe.statistics import ModelStatistics
from service.repository.card import Card
from service.runtime.onnx import OnnxRunner
from service.serving.catalog import Catalog
from tests.unit.serving import models
from tests.unit.serving.cards import card
from tests.unit.serving.house import House, ask, entry_of, servable_of, states, until, variant
from tests.unit.serving.steering import held_runs

ROWS = models.rows(1, 2, 3)
GOLDEN = ({"x": ROWS}, {"y": ROWS * 3})


def swaps(catalog: Catalog) -> Counter[str]:
    [statistics] = catalog.model_statistics()
    assert isinstance(statistics, ModelStatistics)
    return +statistics.swaps


async def two(house: House, other: Card | None = None, *, golden: bool = False, **config: object) -> Catalog:
    """Version 1 (x 2) is active; version v (x 3) stands beside it."""
    house.put("1", models.scales(2.0))
    house.put("v", models.scales(3.0), card=other, golden=GOLDEN if golden else None)
    house.configure(active="1", **config)
    return await house.started()


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "loaded by the swap"])
@pytest.mark.parametrize(
    ("other", "golden", "gate", "force", "warning"),
    [
        (None, False, "default", False, None),
        (None, True, "strict", False, None),
        (card(variant_of=None), False, "strict", False, None),
        (variant("pass"), False, "default", False, None),
        (variant("pass"), True, "strict", False, None),
        (variant("pass", here=False), True, "default", False, "not-measured-here"),
        (variant("pass", here=False), True, "strict", True, "forced"),
        (variant("pass", here=False), False, "default", True, "forced"),
        (variant("fail"), True, "default", True, "forced"),
        (variant("insufficient-data"), False, "strict", True, "forced"),
    ],
)
async def test_what_the_gate_lets_through(
    house: House, other: Card | None, golden: bool, gate: str, force: bool, warning: str | None, resident: bool
) -> None:
    catalog = await two(house, other, golden=golden, gate=gate, versions="all" if resident else "active")
    report = await catalog.swap("m", "v", force=force)
    assert (report.model, report.from_version, report.to_version, report.warning) == ("m", "1", "v", warning)
    assert report.golden == ({"n": 3, "max_abs": 0.0} if golden else None)
    assert (report.load_ms == 0, report.warm_ms == 0) == (resident, resident)
    measured = other is not None and other.variant_of is not None and other.quality[0].cpu_class == cpu_class()
    assert report.agreement == ({"value": 0.99, "n": 100, "source": "card"} if measured else None)
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 3)
    assert swaps(catalog) == {"forced" if warning == "forced" else "swapped": 1}
    assert bool(house.logged("gate overridden")) is (warning == "forced")


@pytest.mark.parametrize("resident", [True, False], ids=["resident", "loaded by the swap"])
@pytest.mark.parametrize(
    ("other", "golden", "gate", "sentence"),
    [
        (variant("fail", reasons=("too many flips",)), True, "default", "is 'fail': too many flips"),
        (variant("insufficient-data"), True, "default", "is 'insufficient-data'"),
        (variant("pass", here=False), False, "default", "has no golden cases to hold it against"),
        (variant("pass", here=False), True, "strict", "which the strict gate asks for"),
    ],
)
async def test_what_the_gate_refuses_leaves_everything_as_it_was(
    house: House, other: Card, golden: bool, gate: str, sentence: str, resident: bool, open_runners: list[OnnxRunner]
) -> None:
    catalog = await two(house, other, golden=golden, gate=gate, versions="all" if resident else "active")
    before, runners = states(catalog), len(open_runners)
    with pytest.raises(Refused, match=sentence) as refused:
        await catalog.swap("m", "v")
    assert refused.value.verdict == {"verdict": other.verdict, "reasons": list(other.reasons)}
    assert (states(catalog), len(open_runners), catalog.active_version("m")) == (before, runners, "1")
    assert entry_of(catalog).previous is None
    assert swaps(catalog) == {"refused": 1}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "loaded by the swap"])
async def test_golden_cases_that_do_not_hold_are_refused_with_force_too(
    house: House, resident: bool, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("v", models.scales(3.0), card=variant("fail"), golden=GOLDEN)
    house.put("1", models.scales(2.0))
    house.configure(active="1", versions="all" if resident else "active")
    catalog = await house.started()
    run = OnnxRunner.run
    monkeypatch.setattr(OnnxRunner, "run", lambda r, arrays: {"y": run(r, arrays)["y"] * 2})
    with pytest.raises(Refused, match="golden cases do not hold" if force or not resident else "gate's verdict"):
        await catalog.swap("m", "v", force=force)
    assert catalog.active_version("m") == "1"
    assert swaps(catalog) == {"refused": 1}


@pytest.mark.parametrize("version", ["3", "..", "", "a" * 400, "1/../../etc"])
async def test_a_version_that_is_not_there_is_not_found(house: House, version: str) -> None:
    catalog = await two(house)
    with pytest.raises(NotFound) as missing:
        await catalog.swap("m", version)
    assert len(str(missing.value)) < 250
    assert catalog.active_version("m") == "1"
    assert swaps(catalog) == {"failed": 1}
    with pytest.raises(NotFound):
        await catalog.swap("unknown", "1")
    with pytest.raises(NotFound):
        await catalog.rollback("unknown")


async def test_a_version_published_since_the_last_load_is_swapped_in(house: House) -> None:
    catalog = await two(house)
    house.put("w", models.scales(5.0))
    assert (await catalog.swap("m", "w")).load_ms > 0
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 5)


async def test_between_residents_only_the_pointer_moves(house: House) -> None:
    catalog = await two(house)
    before = list(catalog.loaded())
    report = await catalog.swap("m", "v")
    assert (report.load_ms, report.warm_ms) == (0.0, 0.0)
    assert list(catalog.loaded()) == before
    assert states(catalog) == {"1": "READY", "v": "READY"}
    assert (await ask(catalog, version="1", x=ROWS)).version == "1"


async def test_outside_the_resident_set_the_old_version_closes(house: House, open_runners: list[OnnxRunner]) -> None:
    catalog = await two(house, versions="active")
    old = servable_of(catalog, "1")
    await catalog.swap("m", "v")
    assert states(catalog) == {"1": "NOT_LOADED", "v": "READY"}
    assert (old.state.value, len(open_runners)) == ("CLOSED", 1)
    with pytest.raises(NotFound, match="version '1' of model 'm' is not loaded"):
        catalog.lease(ModelRef("m", "1"))
    await catalog.swap("m", "1")
    assert states(catalog) == {"1": "READY", "v": "NOT_LOADED"}


async def test_a_slow_request_ends_on_the_old_version_which_closes_only_after_it(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    catalog = await two(house, versions="active")
    old = servable_of(catalog, "1")
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(ask(catalog, x=ROWS))
        await until(held.begun.is_set, within_s=30.0)
        swap = asyncio.ensure_future(catalog.swap("m", "v"))
        await until(lambda: catalog.active_version("m") == "v", within_s=30.0)
        assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 3)
        await until(lambda: old.state.value == "DRAINING", within_s=30.0)
        assert (old.leases, swap.done(), slow.done()) == (1, False, False)
    answer = await slow
    assert (answer.version, answer.outputs["y"].tolist()) == ("1", (ROWS * 2).tolist())
    assert (await swap).drain_ms > 0
    assert old.state.value == "CLOSED"


async def test_a_swap_to_the_active_version_checks_it_and_changes_nothing(house: House) -> None:
    catalog = await two(house)
    await catalog.swap("m", "v")
    report = await catalog.swap("m", "v")
    assert (report.from_version, report.to_version) == ("v", "v")
    assert states(catalog) == {"1": "READY", "v": "READY"}
    assert (await catalog.rollback("m")).to_version == "1"


@pytest.mark.parametrize("residency", ["all", "active"])
async def test_a_rollback_goes_to_and_fro(house: House, residency: str) -> None:
    catalog = await two(house, versions=residency)
    await catalog.swap("m", "v")
    for expected in ("1", "v", "1"):
        report = await catalog.rollback("m")
        assert (report.to_version, report.warning) == (expected, None)
        assert (await ask(catalog, x=ROWS)).version == expected
    assert swaps(catalog) == {"swapped": 1, "rolled_back": 3}


async def test_a_rollback_without_a_swap_is_not_found(house: House) -> None:
    catalog = await two(house)
    with pytest.raises(NotFound, match="model 'm' has no earlier active version"):
        await catalog.rollback("m")


async def test_a_rollback_is_never_gated(house: House) -> None:
    catalog = await two(house, variant("fail"), gate="strict", versions="active")
    await catalog.swap("m", "v", force=True)
    await catalog.swap("m", "1")
    assert (await catalog.rollback("m")).to_version == "v"
    again = await house.started()
    assert again.active_version("m") == "v", "nor is it at the next start"


async def test_what_was_forced_for_one_version_lets_no_other_in(house: House) -> None:
    catalog = await two(house, variant("fail"))
    house.put("w", models.scales(4.0), card=variant("fail"))
    await catalog.swap("m", "v", force=True)
    house.configure(active="w")
    again = await house.started()
    assert again.active_version("m") is None
    assert "version 'w' may not become active" in again.reason("m")


async def test_an_unload_leaves_the_way_back(house: House) -> None:
    catalog = await two(house)
    await catalog.swap("m", "v")
    await catalog.unload("m")
    await catalog.swap("m", "v")
    assert (await catalog.rollback("m")).to_version == "1"


async def test_a_model_that_was_unloaded_is_served_again_by_a_swap(house: House) -> None:
    catalog = await two(house)
    await catalog.unload("m")
    report = await catalog.swap("m", "v")
    assert (report.from_version, report.to_version) == (None, "v")
    assert (await ask(catalog, x=ROWS)).version == "v"


async def test_a_swap_mends_a_model_whose_active_version_is_broken(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", b"no model")
    catalog = await house.started()
    assert not catalog.ready("m").ok
    await catalog.swap("m", "1")
    assert catalog.ready("m").ok
    assert catalog.reason("m") == ""


async def test_a_swap_that_waits_is_superseded_by_a_newer_one(house: House) -> None:
    house.put("3", models.scales(4.0))
    catalog = await two(house, versions="active")
    first, second, third = (asyncio.ensure_future(catalog.swap("m", to)) for to in ("v", "3", "1"))
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert isinstance(results[1], Conflict)
    assert "swap to '3' of model 'm' was superseded by swap to '1'" in str(results[1])
    assert catalog.active_version("m") == "1"
    assert swaps(catalog) == {"swapped": 2, "superseded": 1}


async def test_a_swap_whose_caller_leaves_is_finished_counted_and_watched(house: House) -> None:
    catalog = await two(house, versions="active")
    swap = asyncio.ensure_future(catalog.swap("m", "v", watch_s=30.0))
    await asyncio.sleep(0)  # its first turn: it has begun, and cannot have ended
    assert entry_of(catalog).operations.running is not None
    swap.cancel()
    with pytest.raises(asyncio.CancelledError):
        await swap
    await until(lambda: entry_of(catalog).operations.running is None, within_s=30.0)
    assert catalog.active_version("m") == "v"
    assert swaps(catalog) == {"swapped": 1}
    assert catalog._watches._tasks.keys() == {"m"}
    assert house.logged("swapped")


async def test_an_error_rate_without_a_time_to_watch_is_a_bad_request(house: House) -> None:
    catalog = await two(house)
    with pytest.raises(BadInput, match="'max_error_rate' needs 'watch_s'"):
        await catalog.swap("m", "v", max_error_rate=0.1)


async def test_a_swap_that_was_not_done_is_logged_with_its_reason(house: House) -> None:
    catalog = await two(house, variant("fail"))
    with pytest.raises(Refused):
        await catalog.swap("m", "v")
    with pytest.raises(NotFound):
        await catalog.swap("m", "3")
    [refused], [failed] = house.logged("swap refused"), house.logged("swap failed")
    assert (refused["model"], refused["operation"], refused["level"]) == ("m", "swap to 'v'", "warning")
    assert "fail" in refused["reason"]
    assert failed["reason"] == "model 'm' has no version '3'"
