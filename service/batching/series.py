"""Runs that an engine does in a row and that come back together, where requests are never put into one batch.

After a run of some milliseconds the event loop finds cold caches: to answer one request and to read the next takes it
several times what it takes when it does so for two at once. Each run is timed, counted and judged by itself. Only
where the time of a run depends on its size alone, and is known: nobody's answer waits for a run that could be long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.batching.contract import BatchConfig, Engine
from service.batching.costs import Costs
from service.batching.forming import Former
from service.batching.quick import NEAR
from service.batching.run import Run
from service.core.clock import Clock

WAITING = 4  # requests that wait, for each run after the first: so nobody waits longer by more than a quarter
MOST_S = 0.05  # of a series, as predicted


class Series:
    """Two runs or more.

    Args:
        runs: of one request each, in turn.
    """

    __slots__ = ("_begun", "_skip", "runs")

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        self._begun = runs[0]
        self._skip = False

    @property
    def error(self) -> BaseException | None:
        """Of the first run that failed."""
        return next((run.error for run in self.runs if run.error is not None), None)

    def execute(self, engine: Engine, clock: Clock) -> None:
        """Each in turn; never raises. Called once, on the engine's thread."""
        for run in self.turns():
            run.execute(engine, clock)

    def turns(self) -> Iterator[Run]:
        """The next run to be executed, when the one before it is over."""
        for run in self.runs:
            if self._skip:
                return  # they do not share the fate of one that had to be stopped: they are formed again
            self._begun = run
            yield run

    def leave(self, run: Run, now_s: float) -> bool:
        """Nobody wants one of them any more, and it is left out unless it was begun: whether to stop the engine.

        That is where nobody wants any of them, or not the one that it is at for longer than a series takes.
        """
        run.skip = True
        at = self._begun
        hangs = at.began and not at.ended and not at.wanted and now_s - at.started_s > MOST_S
        return hangs or not any(each.wanted for each in self.runs)

    def give_up(self) -> None:
        """The one that runs is to be stopped, and those behind it are not begun."""
        self._skip = self._begun.skip = True


class SeriesFormer:
    """Forms series.

    Args:
        config: the version's knobs.
        costs: what runs take.
        former: knows what waits.
    """

    def __init__(self, config: BatchConfig, costs: Costs, former: Former) -> None:
        self._on = config.inline_limit_s > 0 and not config.mixes
        self._least_s = NEAR * config.inline_limit_s  # below it runs are done on the event loop itself
        self._costs = costs
        self._former = former

    def begun_by(self, first: Run, engines: int, now_s: float) -> Run | Series:
        """The run, with those behind it where so many wait that this delays nobody much.

        Args:
            first: what goes to an idle engine.
            engines: how many there are; of several another may be idle sooner than this one.
            now_s: monotonic seconds.
        """
        most = 1 + self._former.queue.requests // WAITING
        if not self._on or engines > 1 or most == 1:
            return first
        total_s = self._costs.lone_s(first.pieces[0])
        runs = [first]
        while total_s > self._least_s and len(runs) < most:
            another_s = self._next_s()
            total_s += another_s
            if not another_s or total_s > MOST_S:
                break
            run = self._former.next_run(now_s, 1, draining=False)
            if run is None:
                break
            runs.append(run)
        return Series(runs) if len(runs) > 1 else first

    def _next_s(self) -> float:
        """What the next request will take; 0 where there is none, or nothing is known of its size."""
        head = self._former.head
        return 0.0 if head is None else self._costs.lone_s(head)
