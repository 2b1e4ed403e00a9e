"""What the batcher takes and gives: the engine it drives, the knobs it obeys, what it answers and what it reports.

Plain nouns and protocols. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from service.core.contract import Array, Arrays, Timing

Outputs = Mapping[str, Array]


class Engine(Protocol):
    """Something that runs arrays; `runtime.Runner` is one. One thread at a time calls `run`, any calls `stop`."""

    def run(self, arrays: Arrays) -> Outputs:
        """Runs one batch and blocks until it is done.

        Args:
            arrays: name -> array of shape [rows, ...]. They may be a request's own memory: read, never written.

        Returns:
            Name -> array of shape [rows, ...], in memory that the engine will never touch again.
        """
        ...

    def stop(self) -> None:
        """Asks the run in flight, if any, to end soon by raising `Stuck`; returns at once and may be called again."""
        ...


class CloseReason(StrEnum):
    """Why a batch took no more rows."""

    FULL = "full"
    IDLE_RUNNER = "idle_runner"
    DELAY = "delay"
    SHAPE_CHANGE = "shape_change"
    DEADLINE = "deadline"
    DRAIN = "drain"


class DropReason(StrEnum):
    """Why a request left the queue without having been run."""

    EXPIRED = "expired"
    ABANDONED = "abandoned"


class RefusalReason(StrEnum):
    """Why a request was not let in."""

    FULL = "full"
    OVERLOAD = "overload"
    DEADLINE = "deadline"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How the requests of one priority level wait; Triton's ModelQueuePolicy.

    Attributes:
        max_queue: requests that may wait; one more is rejected.
        default_timeout_s: how long a request without a timeout of its own may wait to be run; None is for ever.
        allows_timeout: whether a request's own timeout counts, where it is shorter than the default.
        delays: what becomes of a request whose time is over: False ends it, True lets it wait behind all others of
            its level.
        max_wait_s: who would wait longer is rejected, and once the queue stands, who would wait a share of it; `inf`
            for nobody. None for what the cost of a run suggests, and for nobody where `delays`.
    """

    max_queue: int = 1024
    default_timeout_s: float | None = None
    allows_timeout: bool = True
    delays: bool = False
    max_wait_s: float | None = None

    def __post_init__(self) -> None:
        if self.max_queue < 1:
            raise ValueError("max_queue must be at least 1")


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """The knobs of one version's batcher.

    Attributes:
        max_rows: no batch of several requests and no piece of a split request is larger.
        max_delay_s: how long a batch may wait for more rows while an engine is idle; 0 never waits.
        preferred_rows: batch sizes to aim at, in place of the cost curve's choice; empty leaves it to the curve.
        waiting: how requests wait whose level has no policy of its own.
        levels: how many priority levels there are; 0 for one, and priorities are then ignored.
        default_level: of a request without a priority, or with one that there is not; 0 for the middle one.
        level_waiting: level -> its own policy.
        keeps_order: whether answers leave in the order in which their requests came.
        mixes: False runs every request alone and whole, whatever its rows.
        inline_limit_s: runs quicker than this are done on the event loop itself; 0 for none. Only where the time of a
            run depends on its size alone: no other request is served meanwhile, and no such run can be stopped.
        shapes_vary: whether that size is more than its rows: other axes that vary, or texts.
    """

    max_rows: int = 32
    max_delay_s: float = 0.0
    preferred_rows: tuple[int, ...] = ()
    waiting: WaitPolicy = WaitPolicy()
    levels: int = 0
    default_level: int = 0
    level_waiting: Mapping[int, WaitPolicy] = field(default_factory=dict)
    keeps_order: bool = False
    mixes: bool = True
    inline_limit_s: float = 0.0
    shapes_vary: bool = False

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise ValueError("max_rows must be at least 1")


class Answer(NamedTuple):
    """What `submit` returns.

    Attributes:
        outputs: name -> array that nobody else holds.
        timing: the phases.
        batch_rows: of the batch it ran in.
        finite: whether every output of the runs that it was in is known to be finite, its own and those of others.
    """

    outputs: dict[str, Array]
    timing: Timing
    batch_rows: int
    finite: bool = False


class BatchReport(NamedTuple):
    """One batch that ran: rows and requests that are not quiet, nanoseconds per phase, and why it was closed."""

    rows: int
    requests: int
    input_ns: int
    infer_ns: int
    output_ns: int
    close_reason: CloseReason


class TracedRun(NamedTuple):
    """A run with requests in it that are traced, whether it went well or not.

    Attributes:
        traces: of those requests, each with the monotonic seconds at which it was submitted.
        report: rows and requests, and the phases, which are 0 for a run that failed.
        started_s, ended_s: monotonic seconds.
        error: why it failed; None when it did not.
    """

    traces: tuple[tuple[Trace, float], ...]
    report: BatchReport
    started_s: float
    ended_s: float
    error: BaseException | None


class Trace(Protocol):
    """Follows one request; called on the event loop's thread, must be quick and must not raise."""

    def ran(self, run: TracedRun, /) -> None:
        """A run came back with this request in it. Told to one trace of a run's, for all of them, before any answer."""
        ...


class BatchObserver(Protocol):
    """Hears what the batcher does, on the event loop's thread; must be quick and must not raise."""

    def batch_ran(self, report: BatchReport, /) -> None:
        """A batch was run and its rows were answered."""
        ...

    def run_failed(self, rows: int, requests: int, error: BaseException, detail: str, /) -> None:
        """A run failed; `detail` is for the log alone, and empty when `error` says it all."""
        ...

    def dropped(self, reason: DropReason, /) -> None:
        """A request left the queue without having been run."""
        ...

    def refused(self, reason: RefusalReason, /) -> None:
        """A request was not let in."""
        ...

    def crashed(self, error: BaseException, /) -> None:
        """The batcher itself failed: every pending request failed with it, and it restarts."""
        ...


class BatcherSnapshot(NamedTuple):
    """The batcher at one moment, for gauges and for the reader of a log."""

    pending: int
    queued_requests: int
    queued_rows: int
    engines: int
    busy_engines: int
    healthy: bool
