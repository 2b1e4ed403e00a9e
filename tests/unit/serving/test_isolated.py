"""Isolated versions are served like any other: tests of batches, padding, sequences and kept answers, run over them.

And what is theirs alone: memory that is told and given back, and requests that outlive a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from service.core.clock import MonotonicClock
from service.core.contract import InferRequest
from service.core.deadline import Deadline
from service.core.errors import BadInput, RunFailed
from service.repository.config_sections import OwnProcess
from service.runtime.isolation.child import Child
from service.serving.heart import Heart
from service.serving.isolated import Cells
from service.serving.servable import Servable
from tests.fakes import ManualClock
from tests.unit.runtime import graphs
from tests.unit.runtime.isolation import crashes
from tests.unit.runtime.isolation.runners import alive
from tests.unit.serving import models, test_cached, test_loader, test_padding, test_servable, test_stateful
from tests.unit.serving.house import House, entry_of, servable_of, until

# Collected here once more, with the house below.
test_text_and_numbers = test_loader.test_every_datatype_goes_in_and_comes_out_as_it_was
test_external_weights = test_loader.test_weights_in_another_file_are_loaded_with_it
test_kept_answers = test_cached.test_the_same_inputs_are_answered_without_a_run
test_no_kept_answers = test_cached.test_a_version_that_draws_at_random_keeps_nothing_and_says_so
test_padded_requests = test_padding.test_each_request_of_a_padded_version_gets_its_own_answer
test_no_padding = test_padding.test_control_a_model_that_ignores_its_mask_is_refused_and_still_batched
test_golden_cases = test_servable.test_golden_cases_are_held_through_the_queue
test_many_rows = test_servable.test_more_rows_than_the_maximum_are_split_and_answered_whole
test_shared_runs = test_servable.test_requests_of_a_batched_version_share_runs_and_get_their_own_rows
test_sequences = test_stateful.test_sequences_side_by_side_answer_as_the_graph_does_step_by_step


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose every version is isolated, and which leaves no process behind."""
    monkeypatch.setattr("service.runtime.isolation.nursery._TOLD_S", 20.0)  # how one ended, on however busy a machine
    house = House(tmp_path, isolation="process")
    yield house
    running = children()
    await house.close()
    for process in running:
        await until(lambda process=process: not alive(process))  # type: ignore[misc]
    assert house.fatal == []


def children() -> list[psutil.Process]:
    """The processes of models, and the cradle, of this process."""
    return [
        one for one in psutil.Process().children(recursive=True) if alive(one) and "cradle" in " ".join(one.cmdline())
    ]


def of_models() -> list[psutil.Process]:
    """Without the cradle."""
    return [one for one in children() if one.ppid() != os.getpid()]


async def loaded(house: House, onnx: bytes, **config: object) -> Servable:
    house.put("1", onnx)
    house.configure(**config)
    return servable_of(await house.started(), "1")


async def ask(servable: Servable, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    return dict((await servable.infer(InferRequest(inputs), Deadline.never())).outputs)


ROWS = models.rows(1, 2, 3)


@pytest.mark.parametrize("isolated", [True, False])
async def test_only_what_is_isolated_has_a_process(tmp_path: Path, isolated: bool) -> None:
    house = House(tmp_path, **({"isolation": "process"} if isolated else {}))
    servable = await loaded(house, models.scales(2.0), instances=2)
    assert len(of_models()) == (2 if isolated else 0)
    assert np.array_equal((await ask(servable, x=ROWS))["y"], ROWS * 2)
    await house.close()


@pytest.mark.parametrize(
    ("onnx", "mixes"), [(models.row_sums(), True), (models.softmax_over_rows(), False), (models.draws_lots(), None)]
)
async def test_examination_finds_what_it_finds_in_this_process(
    house: House, tmp_path: Path, onnx: bytes, mixes: bool | None
) -> None:
    apart = await loaded(house, onnx)
    (tmp_path / "plain").mkdir()
    plain = House(tmp_path / "plain")
    here = await loaded(plain, onnx)
    if mixes is not None:
        assert apart.batchability.mixes is mixes
        assert apart.batchability == here.batchability
    for found in ("signature", "machine", "golden_chunk_rows", "padding", "steady", "repeats"):
        assert getattr(apart.examined, found) == getattr(here.examined, found), found
    await plain.close()


async def test_a_killed_process_costs_no_request(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    for turn in range(3):
        [process] = of_models()
        os.kill(process.pid, signal.SIGKILL)
        answers = await asyncio.gather(*(ask(servable, x=ROWS + turn + i) for i in range(20)))
        for i, answer in enumerate(answers):
            assert np.array_equal(answer["y"], (ROWS + turn + i) * 2)
    assert servable.statistics.to_triton()["inference_stats"]["fail"]["count"] == 0
    assert servable.statistics.processes is not None
    assert servable.statistics.processes.restarts == 3
    assert house.reported[0].startswith("version '1' of model 'm': its process died: it ended")
    assert house.reported[0].endswith(", signal 9 (SIGKILL); 1 so far")


async def test_one_row_that_kills_among_eight_seven_right_answers_and_one_typed_error(house: House) -> None:
    servable = await loaded(house, crashes.divides())
    rows = [2, 3, 4, crashes.KILLER, 5, 6, 7, 8]
    inputs = [np.array([[row]], np.int64) for row in rows]
    answers = await asyncio.gather(*(ask(servable, x=x) for x in inputs), return_exceptions=True)
    for x, answer in zip(inputs, answers, strict=True):
        if x[0, 0] == crashes.KILLER:
            assert isinstance(answer, RunFailed)
            assert str(answer) == "the model's process died while it ran this request"
        else:
            assert isinstance(answer, dict)
            assert np.array_equal(answer["y"], crashes.quotients(x))
    assert servable.batcher.healthy


def test_deaths_are_told_by_version_but_no_more_than_one_a_second() -> None:
    clock, told = ManualClock(), list[str]()
    cells = Cells(clock, 1.0, told.append)
    one, other = (cells.cell(OwnProcess(), "m", version) for version in ("1", "2"))
    for _ in range(5):
        one._note_death("it ended", "signal 11 (SIGSEGV)")
    other._note_death("it ended", "exit code 1")
    clock.advance(1.0)
    one._note_death("it ended", "unknown")
    assert told == [
        "version '1' of model 'm': its process died: it ended, signal 11 (SIGSEGV); 1 so far",
        "version '2' of model 'm': its process died: it ended, exit code 1; 1 so far",
        "version '1' of model 'm': its process died: it ended, unknown; 6 so far",
    ]


async def test_memory_is_told_and_given_back(house: House) -> None:
    before = held_open()
    servable = await loaded(house, graphs.mlp(8), isolation={"process": {"memory_bytes": 1 << 30}})
    [process] = of_models()
    [told] = servable.statistics.to_triton()["memory_usage"]
    assert 8 << 20 < told["byte_size"] < 512 << 20
    assert abs(told["byte_size"] - process.memory_info().rss) < 16 << 20
    catalog, statistics = house.opened[-1], servable.statistics
    entry = entry_of(catalog, "m")
    del servable
    await catalog._lifecycle.unload(entry)
    assert not alive(process)
    assert statistics.processes is not None
    assert statistics.processes.resident_bytes == 0
    assert held_open() <= before, "bytes of the model are still held"


def held_open() -> Counter[str]:
    """What of ours the descriptors of this process are open on: also what tests before this one left."""
    descriptors = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    names = [os.readlink(path) for path in descriptors if os.path.islink(path)]
    return Counter(name for name in names if "retort-" in name)


async def test_a_request_that_wants_too_much_memory_fails_alone(house: House) -> None:
    servable = await loaded(house, crashes.takes(), isolation={"process": {"memory_bytes": 256 << 20}})
    [process] = of_models()
    with pytest.raises(RunFailed, match="not enough memory"):
        await ask(servable, n=np.array([1 << 27]))
    assert (await ask(servable, n=np.array([1000])))["y"] == [1000]
    assert of_models() == [process]


@pytest.mark.parametrize("bound_bytes", [16 << 20, 24 << 20])
async def test_a_bound_that_is_too_small_is_named_with_its_value(house: House, bound_bytes: int) -> None:
    house.put("1", graphs.mlp(8))
    house.configure(isolation={"process": {"memory_bytes": bound_bytes}})
    told = f"'isolation.process.memory_bytes' is {bound_bytes}, and loading it takes more, of which "
    catalog = await house.started()
    assert told in catalog.ready("m").reason
    assert of_models() == []


async def test_a_bad_input_is_one_as_ever(house: House) -> None:
    servable = await loaded(house, models.scales(2.0))
    with pytest.raises(BadInput):
        await ask(servable, z=ROWS)


async def test_a_long_run_that_computes_in_its_process_is_alive_and_one_that_is_frozen_is_not(house: House) -> None:
    servable = await loaded(house, graphs.loop())
    heart = Heart(servable, MonotonicClock())
    asked = asyncio.ensure_future(ask(servable, n=np.array(10**9), x=np.zeros((64, 64), np.float32)))

    async def seen(seconds: float) -> list[bool]:
        found = []
        for _ in range(round(seconds / 0.2)):
            heart.tick()
            found.append(heart.ok)
            await asyncio.sleep(0.2)
        return found

    assert all(await seen(3.0))
    [process] = of_models()
    os.kill(process.pid, signal.SIGSTOP)
    assert not (await seen(3.0))[-1]
    os.kill(process.pid, signal.SIGCONT)
    await seen(1.0)
    assert heart.ok
    asked.cancel()
    await asyncio.wait([asked])
    await heart.stop()


async def test_a_crash_loop_turns_its_readiness_off_and_nothing_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await loaded(house, models.scales(2.0))
    heart = Heart(servable, MonotonicClock())
    load = Child.load

    def dies(child: Child, *rest: Any) -> None:
        child.kill()
        load(child, *rest)

    async def beats(ok: bool) -> bool:
        heart.tick()
        await asyncio.sleep(0.02)
        return heart.ok is ok

    monkeypatch.setattr(Child, "load", dies)
    [process] = of_models()
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not await beats(ok=False):
            pass
    assert heart.reason == "its probe failed: the model's process keeps dying by itself"
    assert servable.batcher.healthy
    await heart.stop()
