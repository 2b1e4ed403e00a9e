"""A file is tried once per machine, in a process that may die of it."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from service.core.errors import BadModel, Stuck
from service.repository.model_config import ModelConfig
from service.repository.store import VersionFiles
from service.runtime.providers import RunnerOptions
from service.runtime.trial import TrialResult
from service.runtime.trial_memory import TrialMemory
from service.runtime.trial_process import TrialLimits
from service.serving import trial
from service.serving.trial import FirstTrial, no_trial
from tests.unit.serving import models
from tests.unit.serving.house import House, ask, until
from tests.unit.serving.steering import loads_last_until

ROWS = models.rows(1, 2, 3)
LIMITS = TrialLimits(256 << 20, 20.0)


class Trials:
    """In the place of `run_trial`: notes what is tried and answers as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.result = TrialResult(True)
        self.tried: list[tuple[bytes, int]] = []
        self.cancels: list[object] = []
        monkeypatch.setattr(trial, "run_trial", self)

    def __call__(
        self,
        onnx: bytes,
        _external: object,
        feeds: list[object],
        _options: object,
        limits: object,
        cancel: object,
        _ahead: object,
    ) -> TrialResult:
        assert limits is LIMITS
        self.cancels.append(cancel)
        self.tried.append((onnx, len(feeds)))
        return self.result


def files(house: House, version: str = "1") -> VersionFiles:
    return house.source.read_version("m", version)


@pytest.fixture
def memory(tmp_path: Path) -> TrialMemory:
    return TrialMemory(tmp_path / "trials.json", pytest.fail)


async def test_a_version_is_tried_for_real_once_and_remembered_over_a_restart(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    path = tmp_path / "trials.json"
    catalog = await house.started(trial=FirstTrial(TrialMemory(path, pytest.fail), LIMITS))
    assert np.array_equal((await ask(catalog, x=ROWS)).outputs["y"], ROWS * 2)
    trials = Trials(monkeypatch)
    await house.started(trial=FirstTrial(TrialMemory(path, pytest.fail), LIMITS))
    assert trials.tried == []


async def test_what_passed_is_not_tried_again_and_what_failed_is(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    house.put("2", models.scales(3.0))
    trials, first = Trials(monkeypatch), FirstTrial(memory, LIMITS)
    for _ in range(3):
        first(files(house, "1"), RunnerOptions())
    trials.result = TrialResult(False, "the trial failed while running: planted")
    for _ in range(2):
        with pytest.raises(
            BadModel, match="version '2' of model 'm' cannot be served: the trial failed while running: planted"
        ):
            first(files(house, "2"), RunnerOptions())
    assert [onnx for onnx, _ in trials.tried] == [models.scales(2.0), models.scales(3.0), models.scales(3.0)]


async def test_another_way_through_the_same_file_is_tried_too(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    trials, first = Trials(monkeypatch), FirstTrial(memory, LIMITS)
    ways = [
        RunnerOptions(),
        RunnerOptions(session={"graph_optimization": "disabled"}),
        RunnerOptions(session={"parallel": True}),
        RunnerOptions(provider_options={"use_arena": False}),
    ]
    for options in [*ways, *ways, RunnerOptions(threads=2, max_batch_size=4)]:
        first(files(house), options)
    assert len(trials.tried) == len(ways)


async def test_golden_cases_are_run_in_the_trial(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    trials = Trials(monkeypatch)
    FirstTrial(memory, LIMITS)(files(house), RunnerOptions())
    assert [feeds for _, feeds in trials.tried] == [1]


async def test_other_weights_beside_the_same_graph_are_another_version(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials, first = Trials(monkeypatch), FirstTrial(memory, LIMITS)
    for weights in (models.WEIGHTS, models.WEIGHTS, models.WEIGHTS + 1):
        house.put("1", models.adds_stored_outside(), w_bin=weights.tobytes())
        first(files(house), RunnerOptions())
    assert len(trials.tried) == 2


async def test_another_provider_is_another_trial(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    trials, first = Trials(monkeypatch), FirstTrial(memory, LIMITS)
    first(files(house), RunnerOptions())
    first(files(house), RunnerOptions(provider="cuda"))
    assert len(trials.tried) == 2


async def test_a_version_that_runs_one_row_at_a_time_is_served_with_a_trial_as_without(
    house: House, memory: TrialMemory
) -> None:
    house.put("1", models.reads_one_row_at_a_time(), golden=({"x": ROWS}, {"y": ROWS * ROWS}))
    catalog = await house.started(trial=FirstTrial(memory, LIMITS))
    assert np.array_equal((await ask(catalog, x=ROWS[1:2])).outputs["y"], ROWS[1:2] ** 2)


@pytest.mark.parametrize(
    ("provider", "timed_out", "advice"), [("tensorrt", True, True), ("tensorrt", False, False), ("cpu", True, False)]
)
async def test_what_to_raise_where_tensorrt_needs_longer(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch, provider: str, timed_out: bool, advice: bool
) -> None:
    house.put("1", models.scales(2.0))
    Trials(monkeypatch).result = TrialResult(False, "the trial was still loading after 20 s", timed_out)
    with pytest.raises(BadModel) as raised:
        FirstTrial(memory, LIMITS)(files(house), RunnerOptions(provider))  # type: ignore[arg-type]
    assert ("RETORT_LOAD_TIMEOUT_S" in str(raised.value)) == advice


async def test_a_load_that_is_given_up_takes_its_trial_along(
    house: House, memory: TrialMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.put("1", models.scales(2.0))
    trials = Trials(monkeypatch)
    cancels: list[threading.Event] = []

    def given_up(*arguments: object) -> TrialResult:
        cancel = arguments[-2]
        assert isinstance(cancel, threading.Event)
        cancels.append(cancel)
        assert cancel.wait(60), "nobody told the trial"
        raise Stuck("the trial was given up")

    monkeypatch.setattr(trial, "run_trial", given_up)
    with loads_last_until(over := asyncio.Event()):
        loading = asyncio.ensure_future(house.loader(trial=FirstTrial(memory, LIMITS)).load("m", "1", ModelConfig()))
        await until(lambda: bool(cancels))
        over.set()
        with pytest.raises(Stuck, match="version '1' of model 'm' did not load within 30 s"):
            await loading
    assert cancels[0].is_set()
    monkeypatch.setattr(trial, "run_trial", trials)
    FirstTrial(memory, LIMITS)(files(house), RunnerOptions(), cancels[0])
    assert trials.cancels == [cancels[0]]  # it did not pass before, so it is tried


async def test_an_operator_who_trusts_every_file_tries_none(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.put("1", models.scales(2.0))
    trials = Trials(monkeypatch)
    no_trial(files(house), RunnerOptions())
    assert trials.tried == []
