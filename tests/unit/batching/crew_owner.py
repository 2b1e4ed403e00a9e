"""A crew in manual time, and an owner that writes down what it hears."""

from __future__ import annotations

from collections.abc import Callable

from service.batching.contract import CloseReason
from service.batching.crew import Crew, CrewLimits
from service.batching.curve import CostCurve
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket, cut
from tests.fakes import Act, FakeEngine, Fault, ManualLoop, ManualThreads, ids

LIMITS = CrewLimits(run_timeout_s=10.0, stop_grace_s=2.0)


class Owner:
    """A crew and what its owner heard, each with the seconds since the start."""

    def __init__(self, loop: ManualLoop, *engines: FakeEngine, replace: Callable[[], FakeEngine] | None = None) -> None:
        self.loop = loop
        self.log: list[tuple[str, float]] = []
        self.back: list[Run] = []
        self.threads = ManualThreads(loop)
        self.curve = CostCurve(8)
        self.crew = Crew(
            self.threads,
            loop.clock,
            LIMITS,
            self,
            guard=lambda step: step,
            curve=self.curve,
            replace=None if replace is None else lambda _lost: replace(),
            on_fatal=self.note,
        )
        self.crew.join(engines)

    def note(self, what: str) -> None:
        self.log.append((what, round(self.loop.time() - 1000, 3)))

    def run_returned(self, run: Run) -> None:
        self.back.append(run)
        self.note("returned")

    def run_lost(self, run: Run) -> None:
        self.note("lost")

    def crew_changed(self) -> None:
        self.note(f"changed {self.crew.size}")

    def dispatch(self) -> Run:
        run = Run([piece(self.loop)], CloseReason.FULL)
        self.crew.dispatch(run, self.loop.time())
        return run


def piece(loop: ManualLoop) -> Piece:
    ticket = Ticket(loop.create_future(), 0.0, 0.0)
    cut(ticket, ids(1, 1), 1, max_rows=8, alone=False)
    return ticket.pieces[0]


def deaf() -> FakeEngine:
    return FakeEngine([Act(fault=Fault.DEAF)] * 9)
