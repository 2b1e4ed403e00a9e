"""Plays a scenario against the production Batcher in manual time, and holds what happened against its promises.

`play` raises AssertionError at the first broken promise:

- every request ends, once, and nobody gets another's row;
- no run is over the maximum, mixes shapes, or starts with rows of a request that has ended;
- while an engine is idle nobody waits without a reason, and who comes first of the best level is served first;
- nobody is run whose time to wait was over, but for those that may be late; answers leave in order where they must;
- every error has its cause: who expired did so at the deadline, who failed was bad or ran alone on a bad engine;
- the batcher breaks only where the scenario breaks it, and closes with nothing left in its books.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

import numpy as np

from service.batching.batcher import Batcher
from service.batching.contract import Answer, BatchConfig, Engine
from service.batching.curve import CostCurve
from service.batching.run import Run
from service.batching.seams import BatcherSeams
from service.batching.series import Series
from service.core.deadline import Deadline
from service.core.errors import BadModel, Draining, Expired, NotReady, Rejected, RunFailed, Stuck
from tests.fakes import FakeEngine, Fault, ManualLoop, ManualThreads, RecordingObserver, ids, run_manually
from tests.unit.batching.patience import Patience, knobs
from tests.unit.batching.scenario import Request, Scenario

MS = 0.001
LATE_S = 2 * MS
RUN_TIMEOUT_S = 0.5
GRACE_S = 0.2
ROWS_APART = 1000  # row ids of one request are consecutive, and those of the next are this far away


@dataclass
class _Client:
    """A request as the test follows it."""

    number: int
    request: Request
    x: Any
    came_s: float = 0.0
    turn: int = 0
    started_s: float = math.inf
    ended_s: float = math.inf
    left: bool = False
    task: asyncio.Task[Answer] | None = None
    rows: dict[float, str] = field(default_factory=dict)  # row id -> queued, running, done
    forgotten: bool = False
    retried: bool = False
    failed_alone: bool = False

    @property
    def open(self) -> bool:
        return self.task is not None and self.ended_s == math.inf and not self.left


def play(scenario: Scenario) -> Counter[str]:
    """Plays it; AssertionError where a promise is broken. Returns how often what happened."""

    async def main(loop: ManualLoop) -> None:
        plays.append(_Play(scenario, loop))
        await plays[0].play()

    plays: list[_Play] = []
    try:
        run_manually(main)
    finally:
        assert not plays[0].broken, plays[0].broken
    return plays[0].what_happened()


class _Play:
    def __init__(self, scenario: Scenario, loop: ManualLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.clients = [self._client(n, request) for n, request in enumerate(scenario.requests)]
        self.by_row = {row: client for client in self.clients for row in client.rows}
        self.acts = iter(scenario.acts)
        self.turns = count()
        self.patience = Patience(scenario)
        self.observer = RecordingObserver()
        self.fatal: list[str] = []
        self.broken: list[str] = []
        self.left_s = -math.inf
        self.pumps = 0
        self.crashes = 0
        self.replacements = 0
        self.closing = False
        self.threads = ManualThreads(loop)
        self.series = 0
        self.threads.on_handed = self.handed
        self.threads.on_start = self.started
        self.threads.on_finish = self.finished
        loop.set_exception_handler(lambda _, context: self.broken.append(repr(context.get("exception") or context)))
        loop.before_advance = self.nobody_waits_without_reason
        self.batcher = Batcher(
            [self.engine() for _ in range(scenario.engines)],
            BatchConfig(
                max_rows=scenario.max_rows,
                max_delay_s=scenario.delay_ms * MS,
                preferred_rows=scenario.preferred,
                mixes=scenario.mixes,
                inline_limit_s=1e-9,  # no engine here is on the loop, but such versions are handed runs in series
                **knobs(scenario),
            ),
            self.curve(),
            clock=loop.clock,
            observer=self.observer,
            replace=self.replace if scenario.replaces else None,
            on_fatal=self.fatal.append,
            run_timeout_s=RUN_TIMEOUT_S,
            seams=BatcherSeams(self.threads, self.pumped, GRACE_S, 0.05),
        )

    def _client(self, number: int, request: Request) -> _Client:
        x = ids((number + 1) * ROWS_APART, 1 if request.rows is None else request.rows, request.width)["x"]
        if request.bad:
            x[-1:] *= -1
        # A request of no rows has no row to follow: only its end is watched.
        return _Client(number, request, x, rows={row: "queued" for row in x[:, 0]})

    def engine(self) -> FakeEngine:
        return FakeEngine(self.acts)

    def replace(self, _lost: Engine) -> FakeEngine:
        self.replacements += 1
        if self.replacements <= self.scenario.failed_replacements:
            raise BadModel("gone")
        return self.engine()

    def curve(self) -> CostCurve:
        curve = CostCurve(self.scenario.max_rows)
        if self.scenario.seeded:
            for rows in range(1, self.scenario.max_rows + 1):
                curve.observe(rows, 5 * MS)
        return curve

    async def play(self) -> None:
        self.batcher.start()
        tasks = [asyncio.ensure_future(self.live(client)) for client in self.clients]
        await asyncio.sleep(self.scenario.close_at_ms * MS)
        self.closing = True
        if not self.scenario.drain:
            self.forget_all()
        await self.batcher.close(self.scenario.drain)
        await asyncio.gather(*tasks)
        self.books_are_empty()

    async def live(self, client: _Client) -> None:
        request = client.request
        await asyncio.sleep(request.at_ms * MS)
        client.came_s, client.turn = self.loop.time(), next(self.turns)
        budget_s = math.inf if request.budget_ms is None else request.budget_ms * MS
        deadline = Deadline(client.came_s + budget_s)
        inputs = {"x": client.x}
        timeout_s = None if request.timeout_ms is None else request.timeout_ms * MS
        submission = self.batcher.submit(
            inputs, request.rows, deadline, origin=request.origin, priority=request.priority, timeout_s=timeout_s
        )
        client.task = asyncio.ensure_future(submission)
        client.task.add_done_callback(lambda task: self.ended(client, task))
        if request.leaves_after_ms is not None:
            self.loop.call_later(request.leaves_after_ms * MS, self.leave, client)
        await asyncio.wait([client.task])

    def hold(self, promise: object, otherwise: str) -> None:
        """Notes a broken promise; raising here would only look like one more failure to the batcher."""
        if not promise:
            self.broken.append(otherwise)

    def forget_all(self) -> None:
        """What is open now will fail: none of it waits for an engine any more."""
        for client in self.clients:
            if client.open:
                client.forgotten = True

    def leave(self, client: _Client) -> None:
        assert client.task is not None
        client.left = client.task.cancel()
        self.left_s = self.loop.time()

    def pumped(self) -> None:
        self.pumps += 1
        if self.pumps in self.scenario.crashes_at:
            self.crashes += 1
            self.forget_all()
            raise ZeroDivisionError("the scenario breaks the batcher")

    def started(self, run: Run) -> None:
        rows = self.rows_of(run)
        owners = list({self.by_row[row].number: self.by_row[row] for row in rows}.values())
        unsplit = len(owners) == 1 and (not self.scenario.mixes or owners[0].request.rows is None)
        self.hold(unsplit or len(rows) <= self.scenario.max_rows, f"a run of {len(rows)} rows")
        self.hold(self.scenario.mixes or len(owners) <= 1, "requests of a version that does not mix share a run")
        self.hold(len({client.request.width for client in owners}) <= 1, "a run mixes shapes")
        for client in owners:
            self.hold(client.open, f"a run starts with rows of request {client.number}, which has ended")
            self.hold(len(owners) == 1 or client.request.rows is not None, "a request without rows shares a run")
        if owners and not owners[0].retried and not self.scenario.delay_ms:
            self.overtakes_nobody(owners[0])
        self.in_turn(owners)
        for row in rows:
            client = self.by_row[row]
            self.hold(client.rows[row] == "queued", f"row {row} of request {client.number} is {client.rows[row]}")
            client.rows[row] = "running"
            client.started_s = min(client.started_s, self.loop.time())

    def overtakes_nobody(self, first: _Client) -> None:
        if self.left_s == self.loop.time() or self.patience.in_doubt(first, self.loop.time()):
            return  # the head of this batch may have left in this very instant
        now_s = self.loop.time()
        place = self.patience.place(first, now_s)
        for client in self.clients:
            due = (
                min(self.deadline_s(client), self.patience.rejected_s(client)) <= now_s + 1e-6
            )  # it may not have heard
            refused = (
                client.came_s == now_s and client.came_s > first.came_s - 1e-6
            )  # perhaps, and has not heard either
            due = due or refused or self.patience.in_doubt(client, now_s)
            if client.open and not due and not client.retried and "queued" in client.rows.values():
                self.hold(self.patience.place(client, now_s) >= place, f"{first.number} overtakes {client.number}")

    def in_turn(self, owners: list[_Client]) -> None:
        """A batch holds better levels first, and nobody whose time to wait was over."""
        now_s = self.loop.time()
        if any(client.retried or self.patience.in_doubt(client, now_s) for client in owners):
            return
        places = [self.patience.place(client, now_s) for client in owners]
        self.hold(places == sorted(places), f"a run holds its requests in the order {places}")
        for client in owners:
            in_time = (
                client.started_s < math.inf or self.patience.delays(client) or now_s < self.patience.until_s(client)
            )
            self.hold(in_time, f"request {client.number} runs after its time to wait")

    def finished(self, run: Run) -> None:
        for row in self.rows_of(run):
            client = self.by_row[row]
            if run.error is None:
                client.rows[row] = "done"
                continue
            client.rows[row] = "queued"
            client.retried = True
            client.failed_alone |= len(run.pieces) == 1

    def rows_of(self, run: Run) -> list[float]:
        return [row for piece in run.pieces for row in piece.inputs["x"][:, 0]]

    def nobody_waits_without_reason(self) -> None:
        idle = any(line.run is None and not line.ended for line in self.threads.lines)
        if not idle or not self.batcher.healthy:
            return
        for client in self.clients:
            held = self.loop.time() < client.came_s + self.scenario.delay_ms * MS and not self.closing
            if client.open and not client.forgotten and not held and "queued" in client.rows.values():
                self.hold(False, f"request {client.number} waits while an engine is idle")

    def ended(self, client: _Client, task: asyncio.Task[Answer]) -> None:
        client.ended_s = self.loop.time()
        if task.cancelled():
            self.hold(client.left, "cancelled by nobody")
            return
        error = task.exception()
        if error is None:
            self.answer_is_right(client, task.result())
        else:
            self.error_has_a_cause(client, error)

    def answer_is_right(self, client: _Client, answer: Answer) -> None:
        self.hold(not client.request.bad or client.request.rows == 0, "a bad row was answered")
        self.hold(client.ended_s < self.deadline_s(client) + LATE_S, "answered after its deadline")
        y = answer.outputs["y"]
        if client.request.rows is None and len(y) != len(client.x):
            return  # no batch axis, so no length is the wrong one
        self.hold(np.array_equal(y, client.x * 2), f"request {client.number} got {y[:, 0]} for {client.x[:, 0]}")
        self.hold(answer.timing.queue_ns >= 0, "negative time in the queue")
        took_ns = (client.ended_s - client.came_s) * 1e9
        waits = self.scenario.keeps_order or not self.scenario.mixes  # for answers before it, or of its series
        held = waits and sum(answer.timing) <= took_ns + 1e4
        self.hold(held or math.isclose(sum(answer.timing), took_ns, abs_tol=1e4), "the phases do not add up")
        if self.scenario.keeps_order:
            self.leaves_in_order(client)

    def leaves_in_order(self, client: _Client) -> None:
        now_s, level = self.loop.time(), self.patience.level(client)
        if self.patience.until_s(client) <= now_s + 1e-6:
            return  # it may have been delayed, and lost its place
        for other in self.clients:
            before = other.open and other.turn < client.turn and self.patience.level(other) == level
            if before and self.patience.until_s(other) > now_s + 1e-6:
                self.hold(False, f"the answer of request {client.number} leaves before that of {other.number}")

    def error_has_a_cause(self, client: _Client, error: BaseException) -> None:
        deadline_s = self.deadline_s(client)
        if "still waited" in str(error):
            at_s = self.patience.rejected_s(client)
            in_time = type(error) is Rejected and client.started_s == math.inf and at_s - 1e-6 <= client.ended_s
            self.hold(in_time and client.ended_s <= at_s + LATE_S, f"{client.number} waits until {at_s}: {error!r}")
            return
        full = self.scenario.max_queue <= len(self.clients)
        hung = any(act.fault in (Fault.HANGS, Fault.DEAF) for act in self.scenario.acts)
        causes: dict[type, Callable[[], bool]] = {
            RunFailed: lambda: client.request.bad or client.failed_alone or not client.rows,
            Expired: lambda: deadline_s - 1e-6 <= client.ended_s <= max(deadline_s, client.came_s) + LATE_S,
            Rejected: lambda: full or min(deadline_s, self.patience.rejected_s(client)) < math.inf,
            Stuck: lambda: hung,
            NotReady: lambda: self.crashes > 0 or hung,
            Draining: lambda: self.closing,
        }
        self.hold(type(error) in causes, f"request {client.number} ended with {error!r}")
        self.hold(causes[type(error)](), f"request {client.number} ended with {error!r} without cause")

    def deadline_s(self, client: _Client) -> float:
        budget_ms = client.request.budget_ms
        return math.inf if budget_ms is None else client.came_s + budget_ms * MS

    def what_happened(self) -> Counter[str]:
        happened = Counter(f"closed: {report.close_reason}" for report in self.observer.reports)
        happened["mixed"] = sum(report.requests > 1 for report in self.observer.reports)
        happened["mixed run failed"] = sum(requests > 1 for _, requests, _, _ in self.observer.failures)
        happened["series"] = self.series
        for client in self.clients:
            happened[self.how(client)] += 1
        return happened

    def handed(self, handed: Run | Series) -> None:
        """Who stands in a series has left the queue: their time to wait is over, and its policy with it."""
        if isinstance(handed, Series):
            self.series += 1
            for row in chain.from_iterable(map(self.rows_of, handed.runs)):
                self.by_row[row].started_s = min(self.by_row[row].started_s, self.loop.time())

    def how(self, client: _Client) -> str:
        assert client.task is not None
        if client.task.cancelled():
            return "left"
        return "answered" if client.task.exception() is None else type(client.task.exception()).__name__

    def books_are_empty(self) -> None:
        for client in self.clients:
            assert client.task is not None and client.task.done(), f"request {client.number} never ended"
        assert [future.ends for future in self.loop.futures if future.ends > 1] == [], "something ended twice"
        snapshot = self.batcher.snapshot()
        assert (snapshot.pending, snapshot.queued_requests, snapshot.queued_rows) == (0, 0, 0), snapshot
        assert [type(error) for error in self.observer.crashes] == [ZeroDivisionError] * self.crashes
        hung = Counter(act.fault for act in self.scenario.acts)
        if self.crashes < 3 and hung[Fault.DEAF] + self.scenario.failed_replacements < 3:
            assert self.fatal == [], self.fatal
