"""Waiting for a turn in a sequence, in manual time: deadlines, idle sequences, drains, and clients that leave."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from service.batching.contract import Answer
from service.core.contract import SequenceStep, TensorSpec, Timing
from service.core.deadline import Deadline
from service.core.errors import BadInput, Draining, Expired, Rejected, RunFailed
from service.observe.sequence_counts import SequenceCounts
from service.repository.config_sections import Sequences as Section
from service.repository.model_config import ModelConfig
from service.serving.sequencer import DRAIN_LIMIT_S, Sequencer, limits_of
from service.serving.sequences import SequenceLimits
from service.serving.state_plan import plan_states
from tests.fakes import ManualLoop, run_manually

ROW = ("N", 1)
PLAN = plan_states(
    Section.model_validate({"states": [{"input": "h", "output": "h_out"}]}),
    [TensorSpec("x", "FP32", ROW), TensorSpec("h", "FP32", ROW)],
    [TensorSpec("y", "FP32", ROW), TensorSpec("h_out", "FP32", ROW)],
    "model 'm'",
)


class Desk:
    """A sequencer of one place; a request adds 1 to the state, and takes `seconds`."""

    def __init__(self, loop: ManualLoop, **more: Any) -> None:
        self.loop = loop
        self.counts = SequenceCounts()
        self.seconds = 1.0
        self.error: Exception | None = None
        limits = SequenceLimits(places=1, waiting=10, steps=10, idle_s=60.0)
        self.sequencer = Sequencer("m", PLAN, limits, self.counts, loop.clock, **more)

    async def run(self, inputs: dict[str, Any]) -> Answer:
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Answer({"y": inputs["h"] + 1, "h_out": inputs["h"] + 1}, Timing(5, 6, 7, 8), 1)

    async def ask(
        self, sequence_id: int, deadline_s: float | None = None, timeout_s: float | None = None, **flags: bool
    ) -> Answer:
        now_s = self.loop.time()
        deadline = Deadline.never() if deadline_s is None else Deadline.after(now_s, deadline_s)
        step = SequenceStep(sequence_id, **flags)
        inputs = {"x": np.ones((1, 1), np.float32)}
        return await self.sequencer.answer(step, inputs, deadline, self.run, timeout_s)

    async def number(self, sequence_id: int, **more: Any) -> float:
        return float((await self.ask(sequence_id, **more)).outputs["y"].item())


def test_the_wait_for_a_turn_counts_as_queue() -> None:
    async def main(loop: ManualLoop) -> list[int]:
        desk = Desk(loop)
        answers = await asyncio.gather(desk.ask(1, start=True), desk.ask(1))
        return [answer.timing.queue_ns for answer in answers]

    assert run_manually(main) == [5, 1_000_000_005]


def test_an_idle_sequence_is_forgotten_after_its_time_and_not_before() -> None:
    async def main(loop: ManualLoop) -> tuple[float, float]:
        desk = Desk(loop)
        await desk.ask(1, start=True)
        began_s = loop.time()
        waiting = asyncio.create_task(desk.ask(2, start=True))
        await asyncio.sleep(59)
        assert not waiting.done()
        assert await desk.number(1) == 2, "the idle time begins anew with each request"
        await waiting
        with pytest.raises(BadInput, match="too long"):
            await desk.ask(1)
        return loop.time() - began_s, desk.counts.expired

    assert run_manually(main) == (59 + 1 + 60 + 1, 1)


def test_a_deadline_ends_the_wait_and_leaves_the_line_in_order() -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop)
        first = asyncio.create_task(desk.ask(1, start=True))
        await asyncio.sleep(0)
        with pytest.raises(Expired):
            await desk.ask(1, deadline_s=0.5)
        assert not first.done()
        await first
        assert await desk.number(1) == 2

    run_manually(main)


@pytest.mark.parametrize(("own_s", "asked_s"), [(0.5, None), (0.5, 0.9), (0.9, 0.5), (None, 0.5)])
def test_the_model_s_own_timeout_bounds_the_wait_too_and_a_request_may_shorten_it(
    own_s: float | None, asked_s: float | None
) -> None:
    async def main(loop: ManualLoop) -> None:
        desk = Desk(loop, default_timeout_s=own_s)
        first = asyncio.create_task(desk.ask(1, start=True))
        await asyncio.sleep(0)
        with pytest.raises(Rejected, match="timeout"):
            await desk.ask(1, timeout_s=asked_s)
        assert loop.time() == 1000.5
        await first

    run_manually(main)


def test_failed_and_abandoned_requests_leave_the_state() -> None:
    async def main(loop: ManualLoop) -> float:
        desk = Desk(loop)
        await desk.ask(1, start=True)
        desk.error = RunFailed("no")
        with pytest.raises(RunFailed):
            await desk.ask(1)
        desk.error = None
        leaving = asyncio.create_task(desk.ask(1))
        await asyncio.sleep(0.5)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        return await desk.number(1)

    assert run_manually(main) == 2


def test_a_drain_waits_for_open_sequences_and_at_most_its_limit() -> None:
    async def main(loop: ManualLoop) -> tuple[float, float]:
        desk = Desk(loop)
        await desk.ask(1, start=True)
        began_s = loop.time()
        draining = asyncio.create_task(desk.sequencer.drain())
        await asyncio.sleep(1)
        with pytest.raises(Draining):
            await desk.ask(2, start=True)
        await desk.ask(1, end=True)
        await draining
        ended_s, other = loop.time() - began_s, Desk(loop)
        await other.ask(1, start=True)
        began_s = loop.time()
        await other.sequencer.drain()
        return ended_s, loop.time() - began_s

    assert run_manually(main) == (2, DRAIN_LIMIT_S)


def test_a_drain_whose_limit_is_over_still_waits_for_what_runs() -> None:
    async def main(loop: ManualLoop) -> tuple[float, float]:
        desk = Desk(loop)
        desk.seconds = DRAIN_LIMIT_S + 10
        asked = asyncio.create_task(desk.number(1, start=True))
        await asyncio.sleep(0)
        began_s = loop.time()
        await desk.sequencer.drain()
        return loop.time() - began_s, await asked

    assert run_manually(main) == (DRAIN_LIMIT_S + 10, 1)


@pytest.mark.parametrize(("strategy", "places"), [("direct", 4 * 3), ("oldest", 7 * 3)])
def test_places_are_reckoned_as_triton_does(strategy: str, places: int) -> None:
    section = {"strategy": strategy, "max_candidate_sequences": 7, "max_sequence_idle_microseconds": 2_500_000}
    config = ModelConfig.model_validate({"max_batch_size": 4, "instances": 3, "sequences": section})
    assert (limits_of(config).places, limits_of(config).idle_s) == (places, 2.5)
