"""Requests that are followed: who hears of a run, when, and how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.batching.batcher import Batcher
from service.batching.contract import BatchConfig, TracedRun
from service.batching.curve import CostCurve
from service.batching.seams import BatcherSeams
from service.core.deadline import Deadline
from service.core.errors import RunFailed
from tests.fakes import FakeEngine, ManualLoop, ManualThreads, RecordingObserver, ids, run_manually


class Recorder:
    """A trace that keeps the runs it is told of."""

    def __init__(self) -> None:
        self.runs: list[TracedRun] = []
        self.answered_before: list[bool] = []
        self.answers: list[asyncio.Task[Any]] = []

    def ran(self, run: TracedRun) -> None:
        self.runs.append(run)
        self.answered_before.append(any(answer.done() for answer in self.answers))


def batcher(loop: ManualLoop, max_rows: int = 8) -> Batcher:
    made = Batcher(
        [FakeEngine()],
        BatchConfig(max_rows=max_rows),
        CostCurve(max_rows),
        clock=loop.clock,
        observer=RecordingObserver(),
        replace=None,
        on_fatal=pytest.fail,
        run_timeout_s=10.0,
        seams=BatcherSeams(threads=ManualThreads(loop)),
    )
    made.start()
    return made


def test_one_trace_of_a_run_hears_of_all_of_them_before_any_answer() -> None:
    async def main(loop: ManualLoop) -> None:
        batching, traces = batcher(loop), [Recorder(), Recorder()]
        wanted = (traces[0], None, traces[1])
        answers = [
            asyncio.ensure_future(batching.submit(ids(n, 1), 1, Deadline.never(), trace=trace))
            for n, trace in enumerate(wanted)
        ]
        traces[0].answers = answers
        await asyncio.gather(*answers)
        (run,) = traces[0].runs
        assert traces[1].runs == []
        assert [trace for trace, _ in run.traces] == traces
        assert (run.report.rows, run.report.requests, run.error) == (3, 3, None)
        assert all(arrived_s <= run.started_s <= run.ended_s for _, arrived_s in run.traces)
        assert traces[0].answered_before == [False]
        await batching.close(drain=True)

    run_manually(main)


def test_a_request_in_parts_is_named_once_a_run() -> None:
    async def main(loop: ManualLoop) -> None:
        batching, trace = batcher(loop, max_rows=4), Recorder()
        await batching.submit(ids(0, 10), 10, Deadline.never(), trace=trace)
        assert [run.report.rows for run in trace.runs] == [4, 4, 2]
        assert [len(run.traces) for run in trace.runs] == [1, 1, 1]
        await batching.close(drain=True)

    run_manually(main)


def test_a_run_that_failed_is_told_with_its_error_and_an_end() -> None:
    async def main(loop: ManualLoop) -> None:
        batching, trace = batcher(loop), Recorder()
        with pytest.raises(RunFailed):
            await batching.submit(ids(-1, 1), 1, Deadline.never(), trace=trace)
        (run,) = trace.runs
        assert isinstance(run.error, ValueError)
        assert run.ended_s >= run.started_s > 0
        await batching.close(drain=True)

    run_manually(main)


def test_without_traces_nothing_is_kept() -> None:
    async def main(loop: ManualLoop) -> None:
        batching = batcher(loop)
        seen: list[list[Any]] = []
        threads: Any = batching.crew._threads
        threads.on_finish = lambda run: seen.append(run.traced)
        await batching.submit(ids(0, 1), 1, Deadline.never())
        assert seen == [[]]
        await batching.close(drain=True)

    run_manually(main)
