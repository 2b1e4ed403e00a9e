"""A version that answers is alive, whatever its clients do; one that does not is found out within two seconds."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.batching.contract import BatchReport, CloseReason
from service.core.contract import Array, Arrays, InferRequest
from service.core.deadline import Deadline
from service.core.errors import RunFailed
from service.runtime.onnx import OnnxRunner
from service.serving.heart import Heart
from service.serving.servable import Servable
from tests.fakes import ManualClock
from tests.support.waiting import PATIENCE_S
from tests.unit.runtime import graphs
from tests.unit.serving import models, recurrent
from tests.unit.serving.house import House, entry_of, servable_of, until

ROWS = models.rows(1, 2, 3)


class Fault:
    """In the place of `OnnxRunner.run`: does what the test says before, or instead of, the real run."""

    def __init__(self, real: Callable[[OnnxRunner, Arrays], dict[str, Array]]) -> None:
        self._real = real
        self.computes = threading.Event()
        self.frozen = threading.Event()
        self.thaw = threading.Event()
        self.change: Callable[[dict[str, Array]], dict[str, Array]] = lambda outputs: outputs
        self.runs = 0

    def __call__(self, runner: OnnxRunner, arrays: Arrays) -> dict[str, Array]:
        self.runs += 1
        while self.computes.is_set():
            pass
        if self.frozen.is_set():
            self.thaw.wait(60)
        return self.change(self._real(runner, arrays))


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fault]:
    fault = Fault(OnnxRunner.run)

    def run(runner: OnnxRunner, arrays: Arrays) -> dict[str, Array]:
        return fault(runner, arrays)

    monkeypatch.setattr(OnnxRunner, "run", run)
    yield fault
    fault.computes.clear()
    fault.thaw.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Beside it runs of a warm-up take 20 us each: one that a machine held up would allow a version longer silences."""
    readings = itertools.count(0.0, 2e-5)
    monkeypatch.setattr("service.serving.warmup.time", SimpleNamespace(perf_counter=lambda: next(readings)))
    return ManualClock(time.monotonic())


async def loaded(house: House, onnx: bytes, **more: Any) -> Servable:
    house.put("1", onnx, golden=more.pop("golden", None))
    clock = more.pop("clock", None)
    house.configure(**more)
    return servable_of(await house.started(clock=clock), "1")


async def beat(heart: Heart) -> None:
    """One probe, begun, ended and taken note of."""
    heart._next_s = 0.0
    heart.tick()
    assert heart._task is not None
    await asyncio.wait({heart._task}, timeout=PATIENCE_S)
    heart.tick()
    await heart.stop()
    heart._task = None


async def found_silent_after(seconds: float, heart: Heart, fault: Fault, clock: ManualClock) -> None:
    """A runner that freezes now is found out `seconds` later, and a tenth of a second before it is not."""
    fault.frozen.set()
    heart.tick()
    clock.advance(seconds - 0.1)
    heart.tick()
    assert heart.ok
    clock.advance(0.2)
    heart.tick()
    assert (heart.ok, heart.reason) == (False, "its runner does not answer")
    await heart.stop()
    fault.thaw.set()


@pytest.mark.parametrize(
    "onnx",
    [
        models.scales(2.0),
        models.softmax_over_rows(),
        models.copies("BYTES"),
        models.copies("FP16"),
        models.copies("INT64"),
        models.draws_lots(),
        models.inverts(),
        graphs.identity(shape=()),
    ],
    ids=["batched", "single", "BYTES", "FP16", "INT64", "random", "not finite", "scalar"],
)
async def test_a_sound_version_is_alive(house: House, onnx: bytes) -> None:
    servable = await loaded(house, onnx)
    heart = Heart(servable, house.loader().clock)
    for _ in range(3):
        await beat(heart)
        assert (heart.ok, heart.reason) == (True, "")
    assert servable.statistics.success.count == 0


async def looked_at(heart: Heart, clock: ManualClock, times: int) -> list[bool]:
    """What it says at each of so many looks, a quarter of a second apart; the runner has a tenth of that to compute."""
    found = []
    for _ in range(times):
        clock.advance(0.25)
        await asyncio.sleep(0.025)
        heart.tick()
        found.append(heart.ok)
    return found


async def test_a_run_that_computes_is_alive_for_as_long_as_it_does(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    heart = Heart(servable, clock)
    fault.computes.set()
    heart.tick()
    assert all(await looked_at(heart, clock, 40))
    fault.frozen.set()
    fault.computes.clear()
    assert not (await looked_at(heart, clock, 7))[-1]  # within two seconds, as ever
    assert heart.reason == "its runner does not answer"
    await heart.stop()


async def test_what_was_computed_before_a_silence_says_nothing_of_it(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    heart = Heart(servable, clock)
    fault.frozen.set()
    heart.tick()
    await looked_at(heart, clock, 2)
    fault.thaw.set()
    await looked_at(heart, clock, 4)
    fault.computes.set()
    asked = asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS[:1]}), Deadline.never()))
    await asyncio.sleep(0.3)  # the runner computes, and nobody looks
    fault.thaw.clear()
    fault.computes.clear()
    clock.advance(10)
    heart.tick()
    assert not (await looked_at(heart, clock, 6))[-1]
    fault.thaw.set()
    await asked
    await heart.stop()


async def test_a_version_that_nothing_made_up_runs_on_is_judged_by_its_clients_requests(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.never_runs(), clock=clock)
    heart = Heart(servable, clock)
    runs = fault.runs
    for _ in range(3):
        heart.tick()
        assert (heart.ok, heart._task, fault.runs) == (True, None, runs)
        clock.advance(5)
    fault.frozen.set()
    asked = asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS[:1]}), Deadline.never()))
    await until(lambda: fault.runs > runs)
    heart.tick()
    clock.advance(0.9)
    heart.tick()
    assert heart.ok
    clock.advance(0.2)
    heart.tick()
    assert (heart.ok, heart.reason) == (False, "its runner does not answer")
    fault.thaw.set()
    with pytest.raises(RunFailed):
        await asked
    heart.tick()
    assert (heart.ok, heart.reason) == (True, "")


async def test_requests_that_fail_one_after_another_turn_no_such_version_off(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.never_runs(), clock=clock)
    heart = Heart(servable, clock)

    fault.frozen.set()
    for _ in range(8):  # somebody waits at every look, and no run ends well
        fault.thaw.clear()
        runs = fault.runs
        asked = asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS[:1]}), Deadline.never()))
        await until(lambda runs=runs: fault.runs > runs)
        heart.tick()
        assert (heart.ok, heart.reason) == (True, "")
        fault.thaw.set()
        with pytest.raises(RunFailed):
            await asked
        clock.advance(0.6)


async def test_golden_rows_are_what_it_sends(house: House, fault: Fault) -> None:
    servable = await loaded(house, models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    sent: list[Array] = []
    fault.change = lambda outputs: sent.append(outputs["y"]) or outputs  # type: ignore[func-returns-value]
    await beat(Heart(servable, house.loader().clock))
    assert np.array_equal(sent[0], ROWS[:1] * 2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda outputs: {"y": outputs["y"] * 1.5},
        lambda outputs: {"y": np.zeros_like(outputs["y"])},
        lambda outputs: {"y": np.full_like(outputs["y"], np.nan)},
        lambda outputs: {"y": outputs["y"].astype(np.float64)},
    ],
)
async def test_a_wrong_answer_is_found_out_and_the_right_one_again_too(house: House, fault: Fault, wrong: Any) -> None:
    servable = await loaded(house, models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    heart = Heart(servable, house.loader().clock)
    fault.change = wrong
    await beat(heart)
    assert (heart.ok, heart.reason) == (False, "its probe got a wrong answer")
    fault.change = lambda outputs: outputs
    await beat(heart)
    assert (heart.ok, heart.reason) == (True, "")


async def test_rounding_is_no_wrong_answer(house: House, fault: Fault) -> None:
    servable = await loaded(house, models.scales(2.0), golden=({"x": ROWS}, {"y": ROWS * 2}))
    heart = Heart(servable, house.loader().clock)
    fault.change = lambda outputs: {"y": outputs["y"] * np.float32(1.005)}
    await beat(heart)
    assert heart.ok


async def test_a_run_that_fails_is_told(house: House, fault: Fault) -> None:
    servable = await loaded(house, models.scales(2.0))
    heart = Heart(servable, house.loader().clock)

    def fail(_outputs: dict[str, Array]) -> dict[str, Array]:
        raise RunFailed("the planted failure")

    fault.change = fail
    await beat(heart)
    assert (heart.ok, heart.reason) == (False, "its probe failed: the planted failure")


async def test_a_frozen_runner_is_found_out_within_two_seconds_and_forgiven_when_it_thaws(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    heart = Heart(servable, clock)
    fault.frozen.set()
    began_s = clock.now_s()
    while heart.ok:
        assert clock.now_s() - began_s < 2.0
        heart.tick()
        await asyncio.sleep(0.001)
        clock.advance(0.05)
    assert heart.reason == "its runner does not answer"
    assert clock.now_s() - began_s > 1.0
    fault.thaw.set()

    def alive() -> bool:
        heart.tick()
        return heart.ok

    await until(alive)
    await heart.stop()


@pytest.mark.parametrize(
    "queueing",
    [{}, {"max_queue_size": 1}, {"default_timeout_microseconds": 20_000}],
    ids=["a long queue", "a full queue", "a short timeout"],
)
async def test_a_frozen_runner_is_found_out_whatever_keeps_the_probe_from_it(
    house: House, fault: Fault, queueing: dict[str, int], clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), max_batch_size=1, dynamic_batching=queueing, clock=clock)
    heart = Heart(servable, clock)
    fault.frozen.set()
    crowd = [asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS}), Deadline.never())) for _ in range(5)]
    began_s = clock.now_s()
    while heart.ok:
        assert clock.now_s() - began_s < 2.0
        heart.tick()
        await asyncio.sleep(0.005)
        clock.advance(0.05)
    fault.thaw.set()
    await asyncio.gather(*crowd, return_exceptions=True)
    await heart.stop()


async def test_a_swap_ends_the_probe_of_the_version_before(house: House, fault: Fault) -> None:
    for version, factor in (("1", 2.0), ("2", 3.0)):
        house.put(version, models.scales(factor))
    house.configure(active="1", versions="all")
    catalog = await house.started()
    before = entry_of(catalog).heart
    assert before is not None
    fault.frozen.set()
    before.tick()
    assert before._task is not None
    await catalog.swap("m", "2")
    assert before._task.done()
    fault.thaw.set()


async def test_a_full_queue_is_no_fault_while_batches_end(house: House, fault: Fault, clock: ManualClock) -> None:
    servable = await loaded(
        house, models.scales(2.0), max_batch_size=1, dynamic_batching={"max_queue_size": 1}, clock=clock
    )
    turn = threading.Semaphore(0)
    fault.change = lambda outputs: turn.acquire(timeout=60) and outputs  # type: ignore[assignment,return-value]
    heart = Heart(servable, clock)

    def client() -> asyncio.Future[Any]:
        return asyncio.ensure_future(servable.infer(InferRequest({"x": ROWS[:1]}), Deadline.never()))

    running = client()
    await until(lambda: servable.batcher.snapshot().busy_engines == 1)
    for _ in range(5):
        queued = client()
        await until(lambda: servable.batcher.snapshot().queued_requests == 1)
        clock.advance(0.9)
        await beat(heart)
        assert heart.ok, heart.reason
        turn.release()
        await running
        running = queued
    queued = client()
    await until(lambda: servable.batcher.snapshot().queued_requests == 1)
    clock.advance(10)
    await beat(heart)
    assert (heart.ok, heart.reason) == (False, "its runner does not answer")
    turn.release(2)
    await asyncio.gather(running, queued)


async def test_a_slow_version_is_given_time_for_four_of_its_runs(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), max_batch_size=1, clock=clock)
    for _ in range(200):
        servable.examined.curve.observe(1, 3.0)
    allowed_s = 4 * servable.examined.curve.predict_s(1)
    assert allowed_s > 2
    await found_silent_after(allowed_s, Heart(servable, clock), fault, clock)


async def test_a_version_whose_rows_are_long_is_given_time_for_four_of_its_slowest_runs(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    servable.pulse.batch_ran(BatchReport(1, 1, 0, int(1.5e9), 0, CloseReason.IDLE_RUNNER))
    await found_silent_after(6.0, Heart(servable, clock), fault, clock)


async def test_a_version_that_holds_batches_back_is_given_that_time_too(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    queueing = {"max_queue_delay_microseconds": 3_000_000}
    servable = await loaded(house, models.scales(2.0), clock=clock, dynamic_batching=queueing)
    await found_silent_after(4.0, Heart(servable, clock), fault, clock)


async def test_a_stateful_version_that_holds_batches_back_is_given_that_time_too(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    section = recurrent.SUMS | {"max_queue_delay_microseconds": 3_000_000}
    servable = await loaded(house, recurrent.sums(), clock=clock, sequences=section)
    await found_silent_after(4.0, Heart(servable, clock), fault, clock)


async def test_the_slowest_run_fades(house: House, clock: ManualClock) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    for run_ns in (int(1.5e9), *[1000] * 500):
        servable.pulse.batch_ran(BatchReport(1, 1, 0, run_ns, 0, CloseReason.IDLE_RUNNER))
    assert servable.pulse.slowest_run_s < 0.02


async def test_a_slow_version_is_probed_seldom(house: House, clock: ManualClock) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    for _ in range(200):
        servable.examined.curve.observe(1, 0.3)
    apart_s = 10 * servable.examined.curve.predict_s(1)
    assert apart_s > 1
    heart = Heart(servable, clock)
    heart.tick()
    assert heart._task is not None
    await asyncio.wait({heart._task}, timeout=PATIENCE_S)
    clock.advance(apart_s - 0.1)
    heart.tick()
    assert (heart.ok, heart._task) == (True, None)
    clock.advance(0.2)
    heart.tick()
    assert heart._task is not None
    await heart.stop()


async def slow(house: House, clock: ManualClock, run_s: float) -> Servable:
    """Of one row a run, which takes so long."""
    servable = await loaded(house, models.scales(2.0), clock=clock, max_batch_size=1)
    for _ in range(200):
        servable.examined.curve.observe(1, run_s)
    return servable


@pytest.mark.parametrize(
    ("clients_wait", "silent_s", "well", "probed"),
    [
        (True, 0.0, True, False),
        (False, 0.0, True, True),  # nobody loses by it
        (True, 0.6, True, True),  # longer than the largest run: nothing may end any more
        (True, 0.0, False, True),  # only a probe shows that it is well again
    ],
)
async def test_where_clients_are_answered_it_is_probed_once_in_300_runs(
    house: House, clock: ManualClock, clients_wait: bool, silent_s: float, well: bool, probed: bool
) -> None:
    servable = await slow(house, clock, 0.004)
    heart, run_s = Heart(servable, clock), servable.examined.curve.predict_s(1)
    await beat(heart)
    heart.ok = well
    servable.batcher._ledger.clients = int(clients_wait)
    for runs, due in ((299, probed), (302, True)):
        clock.advance(runs * run_s - (clock.now_s() - heart._began_s))
        servable.pulse.last_batch_s = clock.now_s() - silent_s
        heart.tick()
        assert (heart._task is not None) is due
        await heart.stop()
        heart._task = None
    servable.batcher._ledger.clients = 0


@pytest.mark.parametrize(("run_s", "apart_s"), [(0.02, 1.5), (0.1, 1.5), (0.5, 5.0)])
async def test_a_wrong_answer_amid_clients_is_found_within_two_seconds_or_ten_runs(
    house: House, clock: ManualClock, fault: Fault, run_s: float, apart_s: float
) -> None:
    servable = await slow(house, clock, run_s)
    heart = Heart(servable, clock)
    await beat(heart)
    servable.batcher._ledger.clients = 1
    fault.change = lambda outputs: {"y": outputs["y"] * 1.5}
    for elapsed_s, due in ((0.98 * apart_s, False), (1.02 * apart_s, True)):
        clock.advance(elapsed_s - (clock.now_s() - heart._began_s))
        servable.pulse.last_batch_s = clock.now_s()
        heart.tick()
        assert (heart._task is not None) is due
    assert heart._task is not None
    await asyncio.wait({heart._task}, timeout=PATIENCE_S)
    heart.tick()
    assert (heart.ok, heart.reason) == (False, "its probe got a wrong answer")
    servable.batcher._ledger.clients = 0


async def test_a_defect_of_ours_is_told_and_ends_no_other_probe(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    servable = await loaded(house, models.scales(2.0))
    heart = Heart(servable, house.loader().clock, house.log)

    def broken(*_: object) -> bool:
        raise ValueError("planted")

    with monkeypatch.context() as planted:
        planted.setattr("service.serving.heart.near", broken)
        await beat(heart)
    assert (heart.ok, heart.reason) == (False, "its probe met an unexpected error")
    assert [line["level"] for line in house.logged("probe failed")] == ["error"]
    await beat(heart)
    assert heart.ok


async def test_a_batch_that_ends_is_a_sign_of_life_while_the_probe_waits(
    house: House, fault: Fault, clock: ManualClock
) -> None:
    servable = await loaded(house, models.scales(2.0), clock=clock)
    heart = Heart(servable, clock)
    fault.frozen.set()
    heart.tick()
    await asyncio.sleep(0.01)
    for _ in range(5):
        clock.advance(0.9)
        servable.pulse.last_batch_s = clock.now_s()
        heart.tick()
        assert heart.ok
    clock.advance(1.1)
    heart.tick()
    assert not heart.ok
    fault.thaw.set()
    await heart.stop()


async def test_a_batcher_that_failed_is_told_until_it_has_restarted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = await loaded(house, models.scales(2.0))
    heart = Heart(servable, house.loader().clock)
    servable.batcher._guard._crash(ValueError("planted"))
    heart.tick()
    assert (heart.ok, heart.reason) == (False, "its batcher has failed and is being restarted")
    await until(lambda: servable.batcher.healthy)
    await beat(heart)
    assert heart.ok


async def test_stopping_leaves_nothing_behind(house: House, fault: Fault) -> None:
    servable = await loaded(house, models.scales(2.0))
    heart = Heart(servable, house.loader().clock)
    await heart.stop()
    fault.frozen.set()
    heart.tick()
    await asyncio.sleep(0.01)
    await heart.stop()
    assert servable.batcher.pending == 0
    fault.thaw.set()


async def test_probes_are_counted_in_no_statistics(house: House, clock: ManualClock) -> None:
    servable = await loaded(house, graphs.linear())
    heart = Heart(servable, clock)
    for _ in range(5):
        await beat(heart)
    assert heart.ok
    assert (servable.statistics.batches, servable.statistics.rows, servable.statistics.success.count) == (0, 0, 0)
    await heart.stop()
