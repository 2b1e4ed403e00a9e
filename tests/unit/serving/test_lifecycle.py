"""What is loaded, which version answers, and what a reload or a restart makes of files that changed meanwhile."""

import asyncio
import gc
import re
import threading
import weakref
from contextlib import suppress

import numpy as np
import pytest

from service.core.contract import ModelRef
from service.core.errors import BadModel, DoesNotFit, NotFound, NotReady, Refused, Stuck
from service.repository.store import VersionFiles
from service.runtime.onnx import OnnxRunner
from service.serving import load_job
from tests.unit.serving import models
from tests.unit.serving.house import House, SlowBuild, ask, entry_of, servable_of, states, until, variant
from tests.unit.serving.steering import held_runs, loads_last_until

ROWS = models.rows(1, 2, 3)


@pytest.mark.parametrize(
    ("residency", "expected"),
    [
        ("all", {"1": "READY", "2": "READY", "3": "READY"}),
        ("active", {"1": "NOT_LOADED", "2": "NOT_LOADED", "3": "READY"}),
        (["1"], {"1": "READY", "2": "NOT_LOADED", "3": "READY"}),
        (["1", "2"], {"1": "READY", "2": "READY", "3": "READY"}),
    ],
)
async def test_residency_says_what_is_loaded_and_the_active_version_always_is(
    house: House, residency: str | list[str], expected: dict[str, str]
) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(float(version)))
    house.configure(versions=residency)
    catalog = await house.started()
    assert states(catalog) == expected
    assert catalog.active_version("m") == "3"
    assert (await ask(catalog, x=ROWS)).version == "3"


async def test_the_active_version_answers_while_others_are_still_loaded(house: House) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(float(version)))
    house.configure(active="2", versions="all")
    go, tried = threading.Event(), []

    def slow(files: VersionFiles, _options: object, _cancel: object) -> None:
        tried.append(files.version)
        assert files.version == "2" or go.wait(20)

    catalog = house.catalog(trial=slow)
    starting = asyncio.ensure_future(catalog.start())
    await until(lambda: len(tried) == 2)
    assert (await ask(catalog, x=ROWS)).version == "2"
    assert not starting.done()
    go.set()
    await starting
    assert tried == ["2", "1", "3"]
    assert set(states(catalog).values()) == {"READY"}


@pytest.mark.parametrize(("active", "expected"), [(None, "10"), ("2", "2"), ("1-int8", "1-int8")])
async def test_active_is_what_model_yaml_says_or_the_highest_number(
    house: House, active: str | None, expected: str
) -> None:
    for version in ("1-int8", "2", "10"):
        house.put(version, models.scales(2.0))
    house.configure(**({"active": active} if active else {}))
    assert (await house.started()).active_version("m") == expected


async def test_an_active_version_that_is_not_there_is_told_and_the_others_answer_by_id(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.configure(active="7")
    catalog = await house.started()
    told = "the configuration of model 'm' says `active: 7`, and it has no such version"
    assert told in catalog.ready("m").reason
    with pytest.raises(NotFound, match=re.escape(told)):
        await catalog.load("m")
    assert (await ask(catalog, version="1", x=ROWS)).version == "1"


async def test_a_broken_version_is_listed_with_its_reason_while_the_others_serve(house: House) -> None:
    house.put("1", b"no model")
    house.put("2", models.scales(2.0))
    catalog = await house.started()
    broken, sound = catalog.versions("m")
    assert (broken.version, broken.state, broken.active) == ("1", "FAILED", False)
    assert broken.reason
    assert (sound.version, sound.state, sound.active, sound.reason) == ("2", "READY", True, "")
    assert (catalog.reason("m"), catalog.ready("m").ok) == ("", True)
    assert not catalog.ready("m", "1").ok
    with pytest.raises(NotReady, match=r"version '1' of model 'm' is failed: "):
        catalog.lease(ModelRef("m", "1"))


async def test_a_broken_active_version_is_the_models_reason_and_no_other_takes_its_place(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", b"no model")
    catalog = await house.started()
    assert catalog.active_version("m") is None
    assert catalog.reason("m") == catalog.versions("m")[1].reason != ""
    with pytest.raises(NotReady, match="model 'm' is not ready"):
        catalog.lease(ModelRef("m"))


async def test_a_broken_model_yaml_stops_that_model_alone(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("1", models.scales(2.0), model="other")
    house.configure(max_batchsize=3)
    catalog = await house.started()
    assert catalog.models() == ["m", "other"]
    assert "max_batchsize" in catalog.reason("m")
    assert "max_batchsize" in catalog.ready("m").reason
    assert catalog.ready("other").ok
    house.configure(max_batch_size=3)
    await catalog.load("m")
    assert (catalog.reason("m"), servable_of(catalog, "1").max_batch_size) == ("", 3)


async def test_a_model_without_a_version_says_so(house: House) -> None:
    house.configure()
    catalog = await house.started()
    assert catalog.reason("m") == "model 'm' has no version with a model.onnx"


async def test_a_defect_of_ours_costs_one_version_and_is_logged_with_its_traceback(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(2.0))
    house.put("1", models.scales(2.0), model="other")
    real = OnnxRunner.load

    def fails_once(*args: object) -> OnnxRunner:
        monkeypatch.setattr(OnnxRunner, "load", real)
        raise KeyError("planted")

    house.configure(active="1")
    monkeypatch.setattr(OnnxRunner, "load", fails_once)
    catalog = house.catalog()
    await catalog.start()
    reasons = [view.reason for name in catalog.models() for view in catalog.versions(name) if view.state != "READY"]
    assert reasons == ["its load met an unexpected error, which the log shows"]
    [line] = house.logged("load failed")
    assert isinstance(line["exc_info"], KeyError)


async def test_a_reload_of_unchanged_files_keeps_the_very_same_servables(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    catalog = await house.started()
    before = list(catalog.loaded())
    await catalog.load("m")
    assert list(catalog.loaded()) == before
    assert [s.statistics for s in catalog.loaded()] == [s.statistics for s in before]


async def test_changed_files_take_over_and_a_slow_request_ends_on_the_old_ones(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(3.0))
    catalog = await house.started()
    old = servable_of(catalog, "1")
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(ask(catalog, x=ROWS))
        await until(held.begun.is_set, within_s=30.0)
        house.put("1", models.scales(2.0))
        reload = asyncio.ensure_future(catalog.load("m"))
        await until(lambda: servable_of(catalog, "1") is not old, within_s=30.0)
        assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
        assert (old.leases, old.state.value, reload.done()) == (1, "DRAINING", False)
    assert np.array_equal((await slow).outputs["y"], ROWS * 3)
    await reload
    assert old.state.value == "CLOSED"
    assert catalog.active_version("m") == "1"
    assert entry_of(catalog).previous is None


async def test_a_new_version_is_found_by_a_reload_and_does_not_become_active(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("2", models.scales(3.0))
    await catalog.load("m")
    assert states(catalog) == {"1": "READY", "2": "READY"}
    assert catalog.active_version("m") == "1"


async def test_a_version_out_of_residency_or_off_the_disk_is_retired(house: House) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(2.0))
    catalog = await house.started()
    gone, unlisted = servable_of(catalog, "1"), servable_of(catalog, "2")
    (house.root / "m" / "1" / "model.onnx").unlink()
    (house.root / "m" / "1").rmdir()
    house.configure(versions=["3"])
    await catalog.load("m")
    assert (gone.state.value, unlisted.state.value) == ("CLOSED", "CLOSED")
    assert states(catalog) == {"1": "NOT_LOADED", "2": "NOT_LOADED", "3": "READY"}
    with pytest.raises(NotFound, match="version '2' of model 'm' is not loaded: not resident"):
        catalog.lease(ModelRef("m", "2"))
    await catalog.load("m")
    assert "1" not in states(catalog)


@pytest.mark.parametrize("broken", [b"no model", models.scales(3.0)[:40]])
async def test_a_reload_that_fails_leaves_what_served_and_loads_the_rest(house: House, broken: bytes) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    before = servable_of(catalog, "1")
    house.put("1", broken)
    house.put("2", models.scales(3.0))
    with pytest.raises(BadModel):
        await catalog.load("m")
    assert servable_of(catalog, "1") is before
    assert states(catalog) == {"1": "READY", "2": "READY"}
    assert catalog.versions("m")[0].reason
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)


async def test_a_reload_whose_golden_cases_do_not_hold_is_refused_and_the_old_serves_on(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("1", models.scales(3.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    with pytest.raises(Refused, match="golden cases do not hold"):
        await catalog.load("m")
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    assert len(open_runners) == 1


async def test_a_configuration_whose_reading_fails_unexpectedly_is_an_answer_and_a_line_in_the_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()

    def planted(_model: str) -> object:
        raise KeyError("planted")

    monkeypatch.setattr(house.source, "read_config", planted)
    with pytest.raises(BadModel, match="its load met an unexpected error, which the log shows"):
        await catalog.load("m")
    assert "planted" in str(house.logged("scan failed")[0]["exc_info"])
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)


async def test_no_cycle_keeps_a_version_once_a_reload_of_it_has_failed(house: House) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    kept = weakref.ref(servable_of(catalog, "1"))
    gc.collect()
    gc.disable()
    try:
        house.put("1", b"no model")
        with suppress(BadModel):
            await catalog.load("m")
        await catalog.unload("m")
        await until(lambda: kept() is None)
    finally:
        gc.enable()


async def test_no_cycle_keeps_the_golden_cases_of_a_version_that_is_closed(house: House) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    catalog = await house.started()
    golden = servable_of(catalog, "1").origins.golden
    assert golden is not None
    kept = weakref.ref(golden.inputs["x"])
    del golden
    gc.collect()
    gc.disable()
    try:
        await catalog.unload("m")
        await until(lambda: kept() is None)
    finally:
        gc.enable()


async def test_a_reload_that_does_not_fit_leaves_what_served(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("1", models.scales(3.0))
    with monkeypatch.context() as patched:
        patched.setattr("service.serving.room.available_bytes", lambda: 10)
        with pytest.raises(DoesNotFit):
            await catalog.load("m")
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    await catalog.load("m")
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 3)


async def test_a_reload_that_is_late_leaves_what_served(
    house: House, monkeypatch: pytest.MonkeyPatch, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("1", models.scales(3.0))
    monkeypatch.setattr(load_job, "GRACE_S", 0.05)
    slow = SlowBuild()
    with monkeypatch.context() as patched, loads_last_until(over := asyncio.Event()):
        patched.setattr(OnnxRunner, "load", slow)
        reload = asyncio.ensure_future(catalog.load("m"))
        await until(slow.begun.is_set)
        while not reload.done():
            assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
            over.set()
        with pytest.raises(Stuck, match="did not load within 30 s"):
            await reload
    assert not slow.built.is_set()
    slow.go.set()
    assert await asyncio.to_thread(slow.built.wait, 30)
    await until(lambda: len(open_runners) == 1, within_s=30.0)
    await catalog.load("m")
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 3)


async def test_a_reload_does_not_carry_a_failed_variant_past_the_gate(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0), card=variant("pass"))
    catalog = await house.started()
    old = servable_of(catalog, "1")
    loaded_s = old.statistics.load_s
    house.put("1", models.scales(3.0), card=variant("fail"))
    with pytest.raises(Refused, match="the gate's verdict on version '1' of model 'm' is 'fail'"):
        await catalog.load("m")
    assert servable_of(catalog, "1") is old
    assert old.statistics.load_s == loaded_s  # with its memory and its processes: of what serves
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    assert len(open_runners) == 1


async def test_a_resident_variant_that_is_not_active_may_change_its_verdict(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("1-int8", models.scales(2.0), card=variant("pass"))
    catalog = await house.started()
    house.put("1-int8", models.scales(3.0), card=variant("fail"))
    await catalog.load("m")
    assert np.array_equal((await ask(catalog, version="1-int8", x=ROWS)).outputs["y"], ROWS * 3)


async def test_the_gate_speaks_at_the_start_too(house: House) -> None:
    house.put("2", models.scales(2.0), card=variant("fail"))
    catalog = await house.started()
    assert catalog.active_version("m") is None
    assert "version '2' may not become active: the gate's verdict" in catalog.reason("m")
    assert (await ask(catalog, version="2", x=ROWS)).version == "2"


async def test_unload_closes_every_version_and_load_brings_them_back(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    catalog = await house.started()
    await catalog.unload("m")
    assert open_runners == []
    assert catalog.models() == ["m"]
    assert states(catalog) == {"1": "NOT_LOADED", "2": "NOT_LOADED"}
    with pytest.raises(NotReady, match="has no active version"):
        catalog.lease(ModelRef("m"))
    with pytest.raises(NotFound, match="not loaded: unloaded"):
        catalog.lease(ModelRef("m", "1"))
    await catalog.load("m")
    assert (await ask(catalog, x=ROWS)).version == "2"


async def test_unload_waits_for_the_request_that_runs(house: House, open_runners: list[OnnxRunner]) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    servable = servable_of(catalog, "1")
    with held_runs(open_runners) as held:
        slow = asyncio.ensure_future(ask(catalog, x=ROWS))
        await until(held.begun.is_set, within_s=30.0)
        assert servable.leases == 1
        unload = asyncio.ensure_future(catalog.unload("m"))
        await until(lambda: servable.state.value == "DRAINING", within_s=30.0)
        assert not unload.done()
    await unload
    assert slow.done()
    assert (await slow).version == "1"
