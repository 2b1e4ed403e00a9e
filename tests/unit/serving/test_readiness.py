"""When traffic is asked for: started, not draining, and every required model alive."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from service.core.clock import MonotonicClock
from service.core.supervise import Supervisor
from service.runtime.onnx import OnnxRunner
from service.serving.catalog import Catalog
from service.serving.readiness import Health
from service.serving.reports import Readiness
from tests.fakes import ManualClock
from tests.unit.serving import models
from tests.unit.serving.house import House, entry_of, servable_of, until
from tests.unit.serving.steering import held_runs


async def two_models(house: House) -> Catalog:
    """Model m is sound, model broken is not."""
    house.put("1", models.scales(2.0))
    house.put("1", b"no model", model="broken")
    return await house.started()


def health(catalog: Catalog, required: list[str] | None = None) -> Health:
    made = Health(catalog, required)
    made.started()
    return made


async def test_it_is_live_at_once_and_ready_once_started(house: House) -> None:
    catalog = await two_models(house)
    made = Health(catalog, None)
    assert made.live().ok
    assert (made.ready().ok, made.ready().reason) == (False, "the server is starting")
    made.started()
    assert (made.ready().ok, made.ready().reason) == (True, "")


async def test_draining_is_not_ready_whatever_the_models_say_and_still_live(house: House) -> None:
    made = health(await two_models(house))
    made.draining()
    assert (made.ready().ok, made.ready().reason) == (False, "the server is draining")
    assert made.live().ok


async def test_a_start_that_ends_while_the_server_drains_does_not_make_it_ready(house: House) -> None:
    made = Health(await two_models(house), None)
    made.draining()
    made.started()
    assert (made.ready().ok, made.ready().reason) == (False, "the server is draining")


async def test_a_model_that_never_loaded_is_not_waited_for_unless_it_is_required(house: House) -> None:
    catalog = await two_models(house)
    assert health(catalog).ready().ok
    assert health(catalog, ["m"]).ready().ok
    assert health(catalog, []).ready().ok
    required = health(catalog, ["m", "broken"]).ready()
    assert not required.ok
    assert required.reason.startswith("model 'broken' is not ready: ")


async def test_a_required_model_that_is_not_in_the_repository_is_told(house: House) -> None:
    made = health(await two_models(house), ["m", "absent"])
    assert made.ready().reason == "model 'absent' is required and not in the repository"


async def test_a_required_model_that_is_mended_makes_it_ready(house: House) -> None:
    catalog = await two_models(house)
    made = health(catalog, ["broken"])
    assert not made.ready().ok
    house.put("1", models.scales(2.0), model="broken")
    await catalog.load("broken")
    assert made.ready().ok


async def test_a_model_that_was_ready_at_the_start_is_waited_for(house: House) -> None:
    catalog = await two_models(house)
    made = health(catalog)
    await catalog.unload("m")
    assert made.ready().reason == "model 'm' is not ready: it has no active version"
    await catalog.load("m")
    assert made.ready().ok


async def test_a_batcher_that_failed_turns_readiness_off_at_once_and_on_when_it_restarts(house: House) -> None:
    catalog = await two_models(house)
    made = health(catalog)
    servable_of(catalog, "1").batcher._guard._crash(ValueError("planted"))
    assert "its batcher is being restarted" in made.ready().reason
    assert "its batcher is being restarted" in catalog.ready("m", "1").reason
    await until(lambda: made.ready().ok, within_s=30.0)


class Ticks:
    """In the place of the probes' sleep: they rest until the test lets that time pass, on the clock of the hearts."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._asked_s: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self._asked_s.put_nowait(seconds)
        await self._go.acquire()

    async def next(self) -> None:
        """Lets the time until the next tick pass; the tick itself comes when this test waits for something."""
        self._clock.advance(await asyncio.wait_for(self._asked_s.get(), 30))
        self._go.release()
        await until(lambda: not self._asked_s.empty(), within_s=30.0)


async def test_the_probes_find_a_frozen_runner_within_two_seconds_and_its_recovery(
    house: House, monkeypatch: pytest.MonkeyPatch, open_runners: list[OnnxRunner]
) -> None:
    """In manual time, since a machine that stalls for a second is no runner that does."""
    house.put("1", models.scales(2.0))
    clock = ManualClock(time.monotonic())
    monkeypatch.setattr("service.serving.warmup.time", SimpleNamespace(perf_counter=clock.now_s))
    catalog = await house.started(clock=clock)
    made, ticks, heart = health(catalog), Ticks(clock), entry_of(catalog).heart
    assert heart is not None
    monkeypatch.setattr("service.serving.readiness.asyncio", SimpleNamespace(sleep=ticks.sleep))

    async def probe_ended() -> None:
        await until(lambda: heart._task is not None and heart._task.done(), within_s=30.0)

    crashes: list[Exception] = []
    probe = Supervisor("probe", made.probe, clock=MonotonicClock(), on_crash=crashes.append, on_give_up=crashes.append)
    probe.start()
    for _ in range(5):
        await probe_ended()
        await ticks.next()
        assert made.ready().ok
    await probe_ended()
    with held_runs(open_runners):
        began_s = clock.now_s()
        while made.ready().ok:
            assert clock.now_s() - began_s < 2.0
            await ticks.next()
        assert made.ready().reason == "model 'm' does not answer: its runner does not answer"
        assert clock.now_s() - began_s > 1.0, "that was no time to answer in"
    await probe_ended()
    await ticks.next()
    assert made.ready().ok
    await probe.stop()
    assert crashes == []


async def test_a_swap_gives_the_new_version_a_heart_of_its_own(house: House) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    catalog = await house.started()
    made = health(catalog)
    old = entry_of(catalog).heart
    assert old is not None
    old.ok, old.reason = False, "planted"
    assert made.ready().reason == "model 'm' does not answer: planted"
    assert catalog.ready("m", "1").ok  # a version that is not active has no heart
    await catalog.swap("m", "1")
    assert made.ready().ok
    assert entry_of(catalog).heart is not old


async def test_a_server_on_which_no_model_loaded_is_not_ready(house: House) -> None:
    house.put("1", b"no model")
    health = Health(await house.started(), None)
    health.started()
    assert health.ready() == Readiness(False, "no model could be loaded")
    house.put("1", models.scales(2.0))
    await house.opened[-1].load("m")
    assert health.ready().ok


async def test_a_server_without_any_model_is_ready_for_the_first_one(house: House) -> None:
    health = Health(await house.started(), None)
    health.started()
    assert health.ready().ok
