"""What a load may take: memory, a trial, its time; and an engine that hangs later."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from service.batching.contract import WaitPolicy
from service.core.contract import Array, InferRequest
from service.core.deadline import Deadline
from service.core.errors import BadModel, DoesNotFit, Stuck
from service.observe.statistics import VersionStatistics
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from service.serving import load_job
from service.serving.batch_knobs import batch_config
from service.serving.servable import State
from tests.fakes import ManualClock
from tests.unit.runtime import graphs
from tests.unit.serving import models
from tests.unit.serving.house import House, SlowBuild, until
from tests.unit.serving.steering import held_runs, loads_last_until

ROWS = models.rows(1, 2, 3)


@pytest.mark.parametrize(("instances", "fits"), [(1, True), (2, False)])
async def test_memory_is_asked_for_each_instance_before_any_is_built(
    house: House, monkeypatch: pytest.MonkeyPatch, open_runners: list[OnnxRunner], instances: int, fits: bool
) -> None:
    onnx = models.scales(2.0)
    house.put("1", onnx)
    monkeypatch.setattr("service.serving.room.available_bytes", lambda: 2 * len(onnx))
    config = ModelConfig(instances=instances)
    if fits:
        servable = await house.loader().load("m", "1", config)
        assert servable is not None
        await servable.retire()
        return
    with pytest.raises(DoesNotFit, match=r"version '1' of model 'm' needs about 0 MiB, and 0 MiB are free"):
        await house.loader().load("m", "1", config)
    assert open_runners == []


async def test_each_version_is_tried_before_it_is_built(house: House, open_runners: list[OnnxRunner]) -> None:
    seen: list[tuple[str, str, int]] = []

    def refuse(files: VersionFiles, options: RunnerOptions, _cancel: object) -> None:
        seen.append((files.version, options.provider, len(open_runners)))
        raise BadModel("the trial says no")

    house.put("1", models.scales(2.0))
    with pytest.raises(BadModel, match="the trial says no"):
        await house.loader(trial=refuse).load("m", "1", ModelConfig())
    assert seen == [("1", "cpu", 0)]


async def test_a_load_that_is_slow_to_build_is_given_up_and_its_runner_closed_later(
    house: House, monkeypatch: pytest.MonkeyPatch, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    monkeypatch.setattr(load_job, "GRACE_S", 0.1)
    slow = SlowBuild()
    monkeypatch.setattr(OnnxRunner, "load", slow)
    with loads_last_until(over := asyncio.Event()):
        loading = asyncio.ensure_future(house.loader().load("m", "1", ModelConfig()))
        await until(slow.begun.is_set)
        over.set()
        with pytest.raises(Stuck, match="version '1' of model 'm' did not load within 30 s"):
            await loading
    assert not slow.built.is_set(), "it was waited for"
    slow.go.set()
    assert await asyncio.to_thread(slow.built.wait, 30)
    await until(lambda: not open_runners, within_s=30.0)


async def test_a_graph_that_takes_long_to_build_is_given_up(house: House) -> None:
    house.put("1", graphs.slow_to_load())
    before = set(threading.enumerate())
    with pytest.raises(Stuck, match="did not load within"):
        await house.loader(load_timeout_s=0.05).load("m", "1", ModelConfig())
    left_behind = {thread for thread in threading.enumerate() if thread.name == "retort-load"} - before
    for thread in left_behind:  # by a machine on which one of its operators takes longer than the grace
        await asyncio.to_thread(thread.join, 60)


async def test_an_engine_that_hangs_is_replaced_and_both_are_closed_in_the_end(
    house: House, open_runners: list[OnnxRunner]
) -> None:
    house.put("1", models.scales(2.0))
    clock = ManualClock(time.monotonic())  # stands still for the run that must not be late
    servable = await house.loader(run_timeout_s=0.1, clock=clock).load("m", "1", ModelConfig())
    assert servable is not None
    [first] = open_runners
    with held_runs(open_runners):
        hangs = asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS}), Deadline.never()))
        while not hangs.done():
            clock.advance(0.1)
            await asyncio.sleep(0.01)
        with pytest.raises(Stuck):
            await hangs
        await until(lambda: servable.batcher.healthy, within_s=30.0)
        answer = await servable.infer(InferRequest({"x": ROWS}), Deadline.never())
        assert np.array_equal(answer.outputs["y"], ROWS * 2)
        assert len(open_runners) == 2
        assert first not in servable.batcher.crew.engines
    await servable.retire()
    assert (servable.state, open_runners) == (State.CLOSED, [])


@pytest.mark.parametrize(
    ("onnx", "inline_limit_s", "on_loop"),
    [
        (models.scales(2.0), 1.0, True),
        (graphs.identity(shape=("N", "length")), 1.0, True),
        (models.scales(2.0), 0.0, False),
        (graphs.loop(), 1.0, False),
    ],
    ids=["steady", "steady, of any length", "switched off", "loop"],
)
async def test_only_steady_versions_may_run_on_the_event_loop(
    house: House, monkeypatch: pytest.MonkeyPatch, onnx: bytes, inline_limit_s: float, on_loop: bool
) -> None:
    house.put("1", onnx)
    servable = await house.loader(inline_limit_s=inline_limit_s).load("m", "1", ModelConfig())
    assert servable is not None
    threads: list[int] = []
    run = OnnxRunner.run

    def noting(runner: OnnxRunner, arrays: Any) -> dict[str, Array]:
        threads.append(threading.get_ident())
        return run(runner, arrays)

    monkeypatch.setattr(OnnxRunner, "run", noting)
    await servable.hold_golden()
    for _ in range(2):  # the first of a length that is new to it tells what it takes
        threads.clear()
        await servable.infer(InferRequest(servable.examined.rows.take([0])), Deadline.never())
    assert (threads == [threading.get_ident()]) is on_loop
    await servable.retire()


async def test_an_engine_is_not_replaced_by_other_files(house: House) -> None:
    folder = house.put("1", models.scales(2.0))
    opener, config = house.loader()._opener, ModelConfig()
    opened = opener.opening(config, VersionStatistics("m", "1"))(opener.files("m", "1", config), threading.Event())
    opened.again(0).close()
    (folder / "model.onnx").write_bytes(models.scales(3.0))
    with pytest.raises(BadModel, match="version '1' of model 'm' changed on disk since its load"):
        opened.again(0)


def test_the_batchers_knobs_are_model_yamls() -> None:
    queueing = {
        "max_queue_delay_microseconds": 1500,
        "preferred_batch_size": [4, 8],
        "max_queue_size": 7,
        "default_timeout_microseconds": 2_000_000,
        "max_queue_wait_microseconds": 60_000,
    }
    config = batch_config(ModelConfig(max_batch_size=16, dynamic_batching=queueing), mixes=True, inline_limit_s=0.0)
    assert (config.max_rows, config.max_delay_s, config.preferred_rows) == (16, 0.0015, (4, 8))
    assert config.waiting.max_wait_s == 0.06
    assert (config.waiting.max_queue, config.waiting.default_timeout_s, config.mixes) == (7, 2.0, True)
    assert batch_config(ModelConfig(), mixes=False, inline_limit_s=0.0).waiting == WaitPolicy()
    assert not batch_config(ModelConfig(), mixes=False, inline_limit_s=0.0).mixes
    assert batch_config(ModelConfig(), mixes=False, inline_limit_s=1e-4).inline_limit_s == 1e-4
    assert config.inline_limit_s == 0.0
