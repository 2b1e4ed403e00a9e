"""What a swap may meet: broken versions (promise A2) and crowds (promise A3), while every request is answered."""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.core.errors import BadModel, Conflict, DoesNotFit, NotFound, Refused, RetortError, Stuck, Unavailable
from service.runtime.onnx import OnnxRunner
from service.runtime.trial_memory import TrialMemory
from service.runtime.trial_process import TrialLimits
from service.serving import load_job
from service.serving.catalog import Catalog
from service.serving.trial import FirstTrial
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.cards import card
from tests.unit.serving.house import House, SlowBuild, ask, entry_of, states, until
from tests.unit.serving.steering import loads_last_until

ROWS = models.rows(1, 2, 3)
IN_TIME_S = 10.0  # some 0.05 on a machine of its own; whoever waits for a load's or a run's time to pass waits for 30


class Traffic:
    """Asks version 1 again and again; every answer must be that of version 1."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._task = asyncio.ensure_future(self._keep_asking())
        self._longest_s = 0.0
        self.answered = 0

    async def goes_on(self, answers: int = 3) -> None:
        """Returns once that many more were answered."""
        enough = self.answered + answers
        await until(lambda: self.answered >= enough or self._task.done(), within_s=30.0)
        assert not self._task.done()

    async def stop(self) -> float:
        """The longest that a request took, in seconds."""
        self._task.cancel()
        results = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError), results[0]
        assert self.answered
        return self._longest_s

    async def _keep_asking(self) -> None:
        while True:
            began_s = time.monotonic()
            answer = await ask(self._catalog, x=ROWS)
            assert (answer.version, answer.outputs["y"].tolist()) == ("1", (ROWS * 2).tolist())
            self._longest_s = max(self._longest_s, time.monotonic() - began_s)
            self.answered += 1
            await asyncio.sleep(0.001)


def truncated(house: House) -> None:
    whole = models.scales(3.0)
    house.put("2", whole[: len(whole) // 2])


def random_bytes(house: House) -> None:
    house.put("2", np.random.default_rng(0).bytes(5000))


def empty(house: House) -> None:
    house.put("2", b"")


def wrong_hash(house: House) -> None:
    folder = house.put("2", models.scales(3.0), card=card(variant_of=None))
    (folder / "model.onnx").write_bytes(models.scales(4.0))


def extra_file(house: House) -> None:
    folder = house.put("2", models.scales(3.0), card=card(variant_of=None))
    (folder / "extra.bin").write_bytes(b"?")


def broken_card(house: House) -> None:
    house.put("2", models.scales(3.0), card_json=b'{"schema": "another"}')


def broken_golden(house: House) -> None:
    house.put("2", models.scales(3.0), golden_npz=b"PK\x03\x04 no archive")


def golden_mismatch(house: House) -> None:
    house.put("2", models.scales(3.0), golden=({"x": ROWS}, {"y": ROWS * 2}))


def golden_of_another_model(house: House) -> None:
    house.put("2", models.scales_wide(3.0), golden=({"x": ROWS}, {"y": ROWS * 3}))


def a_link(house: House) -> None:
    house.put("3", models.scales(3.0))
    (house.root / "m" / "2").symlink_to(house.root / "m" / "3")


def no_model_file(house: House) -> None:
    (house.root / "m" / "2").mkdir()


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (truncated, BadModel),
        (random_bytes, BadModel),
        (empty, BadModel),
        (wrong_hash, BadModel),
        (extra_file, BadModel),
        (broken_card, BadModel),
        (broken_golden, BadModel),
        (golden_mismatch, Refused),
        (golden_of_another_model, BadModel),
        (a_link, NotFound),
        (no_model_file, BadModel),
    ],
)
@pytest.mark.parametrize("force", [False, True])
async def test_a_broken_version_is_refused_in_time_while_the_old_answers(
    house: House, spoil: Callable[[House], None], kind: type[RetortError], force: bool, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    spoil(house)
    traffic = Traffic(catalog)
    began_s = time.monotonic()
    with pytest.raises(kind) as refused:
        await catalog.swap("m", "2", force=force)
    assert time.monotonic() - began_s < IN_TIME_S
    assert str(house.root) not in str(refused.value)
    assert len(str(refused.value)) < 600
    await traffic.goes_on()
    assert await traffic.stop() < IN_TIME_S
    assert (catalog.active_version("m"), len(open_runners)) == ("1", 1)
    assert states(catalog).get("2", "FAILED") in ("FAILED", "NOT_LOADED")
    house.put("4", models.scales(5.0))
    assert (await catalog.swap("m", "4")).to_version == "4"  # nothing is left in the way of a good one


@pytest.mark.parametrize("force", [False, True])
async def test_a_version_with_other_inputs_cannot_take_the_place_of_the_active_one(house: House, force: bool) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("2", models.scales_wide(3.0))
    sentence = "version '2' of model 'm' cannot take the place of version '1': its input 'x' is FP32 [-1, 5] instead of"
    with pytest.raises(Refused) as refused:
        await catalog.swap("m", "2", force=force)
    assert str(refused.value) == f"{sentence} FP32 [-1, 4]"
    assert (await ask(catalog, x=ROWS)).version == "1"


async def test_a_load_slower_than_its_time_is_given_up_while_the_old_answers(
    house: House, monkeypatch: pytest.MonkeyPatch, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("2", models.scales(3.0))
    monkeypatch.setattr(load_job, "GRACE_S", 0.05)
    slow = SlowBuild()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    traffic = Traffic(catalog)
    with loads_last_until(over := asyncio.Event()):
        swap = asyncio.ensure_future(catalog.swap("m", "2"))
        await until(slow.begun.is_set)
        await traffic.goes_on()
        assert not swap.done(), "nobody waited for the load"
        over.set()
        with pytest.raises(Stuck, match="version '2' of model 'm' did not load within"):
            await swap
    assert not slow.built.is_set(), "it was waited for"
    await traffic.goes_on()
    await traffic.stop()
    assert len(open_runners) == 1
    assert states(catalog) == {"1": "READY", "2": "FAILED"}
    slow.go.set()
    assert await asyncio.to_thread(slow.built.wait, 30)
    await until(lambda: len(open_runners) == 1, within_s=30.0)


async def test_a_version_that_does_not_fit_is_refused_while_the_old_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    catalog = await house.started()
    house.put("2", models.scales(3.0))
    monkeypatch.setattr("service.serving.room.available_bytes", lambda: 10)
    with pytest.raises(DoesNotFit, match="version '2' of model 'm' needs about"):
        await catalog.swap("m", "2", force=True)
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)


async def test_a_graph_that_asks_for_80_gb_dies_in_a_child_while_the_old_answers(
    house: House, tmp_path: Path, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    trial = FirstTrial(TrialMemory(tmp_path / "trials.json", print), TrialLimits(256 << 20, 90.0))
    catalog = await house.started(trial=trial)
    house.put("2", graphs.greedy(80 << 30))
    traffic = Traffic(catalog)
    swap = asyncio.ensure_future(catalog.swap("m", "2"))
    await traffic.goes_on()
    assert not swap.done(), "nobody waited for the trial"
    with pytest.raises(BadModel, match="version '2' of model 'm' cannot be served: the trial needs more than 256 MiB"):
        await swap
    await traffic.goes_on()
    await traffic.stop()
    assert len(open_runners) == 1


@pytest.mark.parametrize("residency", ["all", "active"])
async def test_a_crowd_of_swaps_and_rollbacks_leaves_one_active_version_and_no_lease(
    house: House, residency: str, open_runners: list[OnnxRunner]
) -> None:
    for version in ("1", "2", "3"):
        house.put(version, models.scales(float(version)))
    house.configure(versions=residency, warmup=False)
    catalog = await house.started()
    await catalog.swap("m", "1")
    chance = random.Random(7)
    done: Counter[str] = Counter()

    async def one() -> None:
        for _ in range(32 if residency == "all" else 8):
            await asyncio.sleep(chance.random() * 0.01)
            try:
                if chance.random() < 0.3:
                    report = await catalog.rollback("m")
                else:
                    report = await catalog.swap("m", chance.choice("123"))
                done["done"] += 1
                assert report.to_version in ("1", "2", "3")
            except Conflict as error:
                assert "was superseded by" in str(error)
                done["superseded"] += 1

    async def client() -> None:
        while crowd_goes_on:
            answer = await ask(catalog, x=ROWS)
            assert np.array_equal(answer.outputs["y"], ROWS * float(answer.version))
            await asyncio.sleep(0)

    crowd_goes_on = True
    clients = [asyncio.ensure_future(client()) for _ in range(4)]
    await asyncio.gather(*(one() for _ in range(32)))
    crowd_goes_on = False
    await asyncio.gather(*clients)
    [statistics] = catalog.model_statistics()
    assert sum(done.values()) == 32 * (32 if residency == "all" else 8)
    assert statistics.swaps["swapped"] + statistics.swaps["rolled_back"] == done["done"] + 1
    assert statistics.swaps["superseded"] == done["superseded"] > 0
    entry = entry_of(catalog)
    assert (entry.operations.running, [servable.leases for servable in entry.loaded()]) == (
        None,
        [0] * len(entry.loaded()),
    )
    assert [view.version for view in catalog.versions("m") if view.active] == [catalog.active_version("m")]
    assert len(open_runners) == len(entry.loaded()) == (3 if residency == "all" else 1)
    assert (await ask(catalog, x=ROWS)).version == catalog.active_version("m")


async def test_a_swap_that_could_not_be_written_down_for_want_of_a_thread_is_no_step_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback after it leads where it led before, not to the version that is active, and what it loaded is gone."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith("state "):
            raise RuntimeError("can't start new thread")
        start(thread)

    for version, factor in (("1", 2.0), ("2", 3.0), ("3", 4.0)):
        house.put(version, models.scales(factor))
    house.configure(active="1", versions="active")
    catalog = await house.started()
    await catalog.swap("m", "2")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(Unavailable, match="no more threads now"):
            await catalog.swap("m", "3")
    assert (catalog.active_version("m"), entry_of(catalog).previous) == ("2", "1")
    assert states(catalog) == {"1": "NOT_LOADED", "2": "READY", "3": "NOT_LOADED"}
    assert (await catalog.rollback("m")).to_version == "1"
