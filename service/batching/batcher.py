"""Many requests, few runs: takes requests in, forms batches for idle engines, and gives everyone their own answer.

Every request that `submit` takes ends exactly once: with its answer, or with an error of `core.errors`. While an engine
is idle no request waits without a reason. Runs as callbacks on the event loop that called `start`, which owns all state
here. Knows nothing of HTTP, files or ONNX Runtime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from service.batching.admission import Admission
from service.batching.alarm import Alarm
from service.batching.batch import PLAIN, Stacking
from service.batching.contract import Answer, BatchConfig, BatcherSnapshot, BatchObserver, DropReason, Engine, Trace
from service.batching.costs import Costs, ShapeCosts
from service.batching.crew import Crew, CrewLimits
from service.batching.curve import CostCurve
from service.batching.endings import draining, recovering
from service.batching.engine_thread import LoopThreads
from service.batching.expiry import Expiry
from service.batching.forecast import Forecast
from service.batching.forming import Former
from service.batching.guard import Guard
from service.batching.intake import Intake
from service.batching.ledger import Ledger
from service.batching.moment import Moment
from service.batching.order import Order
from service.batching.outcomes import Outcomes
from service.batching.quick import Quick
from service.batching.run import Run
from service.batching.seams import USUAL, BatcherSeams
from service.batching.series import Series, SeriesFormer
from service.batching.suspects import Suspects
from service.batching.ticket import Ticket
from service.core.clock import Clock
from service.core.contract import Arrays
from service.core.deadline import Deadline
from service.core.errors import Abandoned, RetortError, Stuck


class Batcher:
    """The batcher of one version; made and used on one running event loop.

    Args:
        engines: each gets a thread of its own.
        config: the version's knobs.
        curve: seconds by rows, seeded by the warm-up; refined here.
        clock: monotonic seconds.
        observer: hears of batches, failures and crashes.
        replace: makes an engine in place of the given one, which hangs; blocking, called on a thread of its own.
        on_fatal: called with one sentence when the process had better end: a crash loop, or engines that keep hanging.
        run_timeout_s: the most that one run may take.
        stacking: how requests become a batch.
        seams: for tests and fault injection.

    Attributes:
        crew: its engines.
    """

    def __init__(  # noqa: PLR0913 (all that a batcher is made of; everything but the last has no sensible default)
        self,
        engines: Sequence[Engine],
        config: BatchConfig,
        curve: CostCurve,
        *,
        clock: Clock,
        observer: BatchObserver,
        replace: Callable[[Engine], Engine] | None,
        on_fatal: Callable[[str], None],
        run_timeout_s: float,
        stacking: Stacking = PLAIN,
        seams: BatcherSeams = USUAL,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._clock, self._observer, self._on_pump = loop, clock, observer, seams.on_pump
        self._ledger = Ledger()
        self._order = Order(self._ledger.answer) if config.keeps_order else None
        suspects = Suspects()
        self._guard = guard = Guard(
            clock,
            seams.restart_after_s,
            on_crash=self._crashed,
            on_restart=lambda: self._forming.soon(),  # noqa: PLW0108 (made with this guard)
            on_give_up=lambda: on_fatal("the batcher keeps failing: the third crash within a minute"),
        )
        costs = ShapeCosts(curve, stacking) if config.shapes_vary else Costs(curve)
        quick = Quick(config.inline_limit_s, costs, clock)
        threads = seams.threads or LoopThreads(loop, clock, quick)
        limits = CrewLimits(run_timeout_s, seams.stop_grace_s)
        self.crew = Crew(
            threads, clock, limits, self, guard=guard.wrap, curve=curve, replace=replace, on_fatal=on_fatal
        )
        self._newcomers = engines
        admission = Admission(config, Forecast(config, curve, self.crew), self.crew, observer.refused)
        self._intake = Intake(config, admission, suspects, stacking)
        self._former = Former(config, curve, stacking, admission.began)
        self._series = SeriesFormer(config, costs, self._former)
        answer = self._ledger.answer if self._order is None else self._order.answer
        self._outcomes = Outcomes(answer, self._former, suspects, observer, costs, self._fail, limits)
        self._expiry = Expiry(self._ledger, self._fail, self._delay, lambda ring: Alarm(loop, clock, guard.wrap(ring)))
        most_rows, waiting = config.max_rows if config.mixes else 1, self._rows_for_the_idle
        self._forming = Moment(loop, clock, most_rows, waiting=waiting, form=self._pump, guard=guard.wrap)
        self._closing = False
        self._drained = asyncio.Event()

    def start(self) -> None:
        """Starts the engines' threads; requests are taken from now on. Raises RuntimeError where there are none."""
        self.crew.join(self._newcomers)
        self._newcomers = ()
        self._guard.start()

    async def submit(
        self,
        inputs: Arrays,
        rows: int | None,
        deadline: Deadline,
        *,
        origin: str = "",
        quiet: bool = False,
        priority: int = 0,
        timeout_s: float | None = None,
        trace: Trace | None = None,
    ) -> Answer:
        """Runs one request, with others or alone, and waits for its answer; cancelling the wait abandons it.

        Args:
            inputs: name -> array of shape [rows, ...]; the batcher's own from now on, never written.
            rows: rows of every input; None where there is no batch axis: run whole, and never with others.
            deadline: when the answer is no longer wanted.
            origin: who asks, "" when not known; one who keeps sending failing requests is run alone.
            quiet: the server's own question: bound by no policy of a level, and left out of what the observer counts.
            priority: 1 is served first; 0 for the default level.
            timeout_s: how long it is ready to wait to be run, as far as the policy of its level lets it say so.
            trace: hears of the runs that this request is in; None for nothing.

        Raises:
            Rejected: the queue is full, the deadline or the timeout cannot be met, or the timeout passed in the queue.
            Expired: the deadline passed.
            RunFailed, BadInput: the engine failed on this very request.
            Stuck: the run did not end in time.
            NotReady: the batcher failed and is about to start again.
            Draining: it is closing.
        """
        ticket = Ticket(self._loop.create_future(), self._clock.now_s(), deadline.at_s, origin, quiet, trace)
        self._enter(ticket, inputs, rows, priority, timeout_s)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._fail(ticket, Abandoned("nobody waits for this answer any more"), DropReason.ABANDONED)
            raise
        finally:
            del ticket  # an error's traceback holds this frame, and the ticket holds the error: no cycle of them

    def check_room(self) -> None:
        """Raises Rejected where `submit` would whatever is submitted: to be asked before anybody reads a request."""
        held = self._order.held if self._order is not None else 0
        self._intake.check(self._former.queue, held=held, now_s=self._clock.now_s())

    async def close(self, drain: bool) -> None:
        """Takes nothing new, ends every request, then lets the engines go; an engine that hangs is left behind.

        Args:
            drain: whether what is queued is still run; otherwise it fails as Draining.
        """
        self._closing = True
        self.crew.stop_replacing()
        if not drain or not self.crew.size:
            self._end_all(draining)
        self._forming.soon()
        self._note_drained()
        await self._drained.wait()
        await self.crew.end()
        self._expiry.cancel()
        self._forming.cancel()

    @property
    def pending(self) -> int:
        """Requests of clients that wait for their answer, queued or running."""
        return self._ledger.clients

    @property
    def healthy(self) -> bool:
        """Whether it forms batches and has an engine to run them."""
        return self._guard.up and self.crew.size > 0

    def snapshot(self) -> BatcherSnapshot:
        """The batcher now."""
        queue, crew = self._former.queue, self.crew
        return BatcherSnapshot(self.pending, queue.requests, queue.rows, crew.size, crew.size - crew.idle, self.healthy)

    def run_returned(self, run: Run | Series) -> None:
        """A run came back and its engine is idle: the next batch goes first, then its own requests hear of it."""
        if run.error is None and not self._former.empty:
            self._pump(self._clock.now_s())
        self._judge(run)

    def run_lost(self, run: Run | Series) -> None:
        """A run was given up with its engine."""
        self._outcomes.lose(run, self._clock.now_s())
        self._forming.soon()  # of a series, what was not begun

    def crew_changed(self) -> None:
        """An engine joined, or the last one is gone: without any to come, nobody need wait."""
        if self._without_engines:
            self._end_all(lambda: Stuck("the model's engine hangs and could not be replaced"))
        self._forming.soon()

    def _enter(self, ticket: Ticket, inputs: Arrays, rows: int | None, priority: int, timeout_s: float | None) -> None:
        if self._closing:
            raise draining()
        if not self._guard.up or self._without_engines:
            raise recovering()
        held = self._order.held if self._order is not None else 0
        queue, first = self._former.queue, self.crew.idle > 0 and self._former.empty
        self._intake.take(queue, ticket, inputs, rows, priority=priority, timeout_s=timeout_s, held=held)
        self._ledger.open(ticket)
        if self._order is not None and not ticket.quiet:
            self._order.enter(ticket)
        self._former.add(ticket)
        self._expiry.watch(ticket)
        self._forming.came(ticket.arrived_s, first=first)

    def _fail(self, ticket: Ticket, error: RetortError, drop: DropReason | None = None) -> None:
        """Ends a ticket and makes queue and engines forget it."""
        pieces = ticket.pieces
        if not self._ledger.fail(ticket, error):
            return
        if drop is not None and not ticket.quiet and ticket.waiting == len(pieces):
            self._observer.dropped(drop)
        for piece in pieces:
            self._former.discard(piece)
            run = piece.run
            if run is not None:
                run.wanted -= 1
                if not run.wanted:
                    self.crew.stop(run)
        self._lose_place(ticket)
        self._note_drained()

    def _delay(self, ticket: Ticket) -> None:
        self._former.delay(ticket)
        self._lose_place(ticket)

    def _lose_place(self, ticket: Ticket) -> None:
        if self._order is not None:
            self._order.leave(ticket, self._clock.now_s())

    def _end_all(self, error: Callable[[], RetortError]) -> None:
        """Ends every ticket without a look at the books, which may be what is broken, and starts new ones."""
        self._former.clear()
        if self._order is not None:
            self._order.clear()
        self._ledger.fail_all(error)
        self.crew.stop_all()
        self._note_drained()

    def _pump(self, now_s: float) -> None:
        """Forms batches: once the callbacks of a loop iteration are through, since they may bring more requests."""
        if not self._guard.up:
            return
        self._on_pump()
        self._expiry.look(now_s)
        while self.crew.idle:
            run = self._former.next_run(now_s, self.crew.idle, draining=self._closing)
            if run is None:
                self._forming.at(self._former.hold_until_s)
                return
            handed = self._series.begun_by(run, self.crew.size, now_s)
            done = self.crew.dispatch(handed, now_s)
            self._forming.learn(run, done=done)
            if done:
                self._judge(run)
                return  # so that the loop turns between two runs of its own

    def _rows_for_the_idle(self) -> int:
        return self._former.queue.rows if self.crew.idle else 0

    def _judge(self, run: Run | Series) -> None:
        """The requests of a run that is back hear of it; what still waits, halves of it perhaps, is next."""
        self._outcomes.judge(run, self._clock.now_s())
        if self.crew.idle and not self._former.empty:
            self._forming.soon()
        self._note_drained()

    @property
    def _without_engines(self) -> bool:
        return not self.crew.size and (self._closing or not self.crew.replacing)

    def _crashed(self, error: Exception) -> None:
        self._end_all(recovering)
        with suppress(Exception):  # the observer may be what failed
            self._observer.crashed(error)

    def _note_drained(self) -> None:
        if self._closing and not self._ledger:
            self._drained.set()
