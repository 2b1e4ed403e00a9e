"""What happened to one version since the server started: counts and durations, and Triton's `model_stats` entry.

Updated and read on the event loop's thread, so there are no locks. Structurally a `BatchObserver` of the batcher.
Knows nothing of what ran. Field names: Triton's statistics extension.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from service.observe.histogram import COUNT_BOUNDS, TIME_BOUNDS_NS, Histogram
from service.observe.names import (
    CLOSE_REASONS,
    DROP_REASONS,
    FAILURE_REASONS,
    REFUSAL_REASONS,
    STANDINGS,
    SWAP_OUTCOMES,
)
from service.observe.sequence_counts import SequenceCounts


class Compute(Protocol):
    """Where a run spent its time."""

    @property
    def input_ns(self) -> int:
        """Nanoseconds spent on stacking the inputs."""
        ...

    @property
    def infer_ns(self) -> int:
        """Nanoseconds in the runner."""
        ...

    @property
    def output_ns(self) -> int:
        """Nanoseconds spent on taking the outputs apart."""
        ...


class Timing(Compute, Protocol):
    """Where an answered request spent its time; the compute phases are those of its batch."""

    @property
    def queue_ns(self) -> int:
        """Nanoseconds in the queue."""
        ...


class Batch(Compute, Protocol):
    """One batch that ran."""

    @property
    def rows(self) -> int:
        """Rows in it."""
        ...

    @property
    def requests(self) -> int:
        """Requests in it."""
        ...

    @property
    def close_reason(self) -> str:
        """Why it took no more requests."""
        ...


class Processes(Protocol):
    """The processes that run a version apart from the server."""

    @property
    def resident_bytes(self) -> int:
        """Memory of all of them now."""
        ...

    @property
    def used_s(self) -> float:
        """Processor time of all of them so far, seconds."""
        ...

    @property
    def restarts(self) -> int:
        """How often one took the place of another."""
        ...


class Duration:
    """How often something happened, and for how long altogether."""

    __slots__ = ("count", "ns")

    def __init__(self, count: int = 0, ns: int = 0) -> None:
        self.count = count
        self.ns = ns

    def add(self, ns: int) -> None:
        """Counts one time of `ns` nanoseconds."""
        self.count += 1
        self.ns += ns

    def to_triton(self) -> dict[str, int]:
        """Triton's `$duration_stat`."""
        return {"count": self.count, "ns": self.ns}


class Phases:
    """How many runs there were, and how long each of their three phases took altogether."""

    __slots__ = ("count", "infer_ns", "input_ns", "output_ns")

    def __init__(self) -> None:
        self.count = self.input_ns = self.infer_ns = self.output_ns = 0

    def add(self, run: Compute) -> None:
        """Counts one run."""
        self.count += 1
        self.input_ns += run.input_ns
        self.infer_ns += run.infer_ns
        self.output_ns += run.output_ns

    def to_triton(self) -> dict[str, dict[str, int]]:
        """The phases under Triton's names."""
        return {
            "compute_input": {"count": self.count, "ns": self.input_ns},
            "compute_infer": {"count": self.count, "ns": self.infer_ns},
            "compute_output": {"count": self.count, "ns": self.output_ns},
        }


class VersionStatistics:
    """Counts of one version.

    Args:
        model: its model's name.
        version: its id.
        pending: how many requests wait in its queue now.
        wall_clock_s: seconds since the epoch, for `last_inference` alone.

    Attributes:
        load_s: how long the last load took, None before the first.
        memory_bytes: what the version keeps in memory, None when not known.
        non_finite: outputs that held NaN or infinity.
        caches: whether answers are kept.
        cache_hit: looking up the answers that were found.
        cache_miss: looking up those that were not, and keeping them.
        sequences: of a version that keeps state.
        remote_retries: calls of a remote server that were made again, None for a version that runs here.
        processes: of its own; None for a version that runs in the server's.
    """

    def __init__(
        self,
        model: str,
        version: str,
        *,
        pending: Callable[[], int] = lambda: 0,
        wall_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.version = version
        self.pending = pending
        self.load_s: float | None = None
        self.memory_bytes: int | None = None
        self.non_finite = 0
        self.remote_retries: int | None = None
        self.processes: Processes | None = None
        self.rows = 0
        self.batches = 0
        self.runs_failed = 0
        self.crashes = 0
        self.failures = {reason: Duration() for reason in FAILURE_REASONS}
        self.caches = False
        self.cache_hit = Duration()
        self.cache_miss = Duration()
        self.sequences = SequenceCounts()
        self.compute = Phases()
        self.by_rows: dict[int, Phases] = {}
        self.close_reasons = Counter(dict.fromkeys(CLOSE_REASONS, 0))
        self.drops = Counter(dict.fromkeys(DROP_REASONS, 0))
        self.refusals = Counter(dict.fromkeys(REFUSAL_REASONS, 0))
        self.request_times = Histogram(TIME_BOUNDS_NS)
        self.queue_times = Histogram(TIME_BOUNDS_NS)
        self.input_times = Histogram(TIME_BOUNDS_NS)
        self.infer_times = Histogram(TIME_BOUNDS_NS)
        self.output_times = Histogram(TIME_BOUNDS_NS)
        self.batch_rows = Histogram(COUNT_BOUNDS)
        self.batch_requests = Histogram(COUNT_BOUNDS)
        self._wall_clock_s = wall_clock_s
        self._last_inference_ms = 0

    @property
    def success(self) -> Duration:
        """Requests that were answered, and the time from their coming to their answer."""
        return Duration(self.request_times.count, self.request_times.total)

    @property
    def queue(self) -> Duration:
        """The same requests, and their time in the queue."""
        return Duration(self.queue_times.count, self.queue_times.total)

    def request_done(self, total_ns: int, timing: Timing, *, cached: bool = False) -> None:
        """Counts a request that was answered after `total_ns` nanoseconds; a `cached` one computed nothing."""
        if not cached:
            self.compute.add(timing)
        self.request_times.observe(total_ns)
        self.queue_times.observe(timing.queue_ns)

    def request_failed(self, reason: str, total_ns: int) -> None:
        """Counts a request that failed after `total_ns` nanoseconds; `reason` is one of Triton's words."""
        self.failures.setdefault(reason, Duration()).add(total_ns)

    def batch_ran(self, report: Batch) -> None:
        """Counts a batch that ran to its end."""
        self.batches += 1
        self.rows += report.rows
        phases = self.by_rows.get(report.rows)
        if phases is None:
            phases = self.by_rows[report.rows] = Phases()
        phases.add(report)
        self.close_reasons[report.close_reason] += 1
        self.input_times.observe(report.input_ns)
        self.infer_times.observe(report.infer_ns)
        self.output_times.observe(report.output_ns)
        self.batch_rows.observe(report.rows)
        self.batch_requests.observe(report.requests)
        self._last_inference_ms = int(self._wall_clock_s() * 1000)

    def run_failed(self, *_: object) -> None:
        """Counts a run that raised or was given up."""
        self.runs_failed += 1

    def retried(self) -> None:
        """Counts a call of a remote server that was made again."""
        self.remote_retries = (self.remote_retries or 0) + 1

    def dropped(self, reason: str) -> None:
        """Counts a request that left the queue without being run."""
        self.drops[reason] += 1

    def refused(self, reason: str) -> None:
        """Counts a request that was not let into the queue."""
        self.refusals[reason] += 1

    def crashed(self, _error: BaseException) -> None:
        """Counts a crash of the batcher's loop."""
        self.crashes += 1

    def to_triton(self) -> dict[str, Any]:
        """One entry of `model_stats`; times are nanoseconds, `last_inference` milliseconds since the epoch."""
        fail = {
            "count": sum(failure.count for failure in self.failures.values()),
            "ns": sum(failure.ns for failure in self.failures.values()),
        }
        return {
            "name": self.model,
            "version": self.version,
            "last_inference": self._last_inference_ms,
            "inference_count": self.rows,
            "execution_count": self.batches,
            "inference_stats": {
                "success": self.success.to_triton(),
                "fail": fail,
                "queue": self.queue.to_triton(),
                **self.compute.to_triton(),
                "cache_hit": self.cache_hit.to_triton(),
                "cache_miss": self.cache_miss.to_triton(),
            },
            "response_stats": {},  # of decoupled models, which there are none of
            "batch_stats": [{"batch_size": rows, **self.by_rows[rows].to_triton()} for rows in sorted(self.by_rows)],
            "memory_usage": self._memory_usage(),
        }

    def _memory_usage(self) -> list[dict[str, Any]]:
        taken = self.memory_bytes if self.processes is None else self.processes.resident_bytes
        return [] if taken is None else [{"type": "CPU", "id": 0, "byte_size": taken}]


class ModelStatistics:
    """Counts of one model over all its versions.

    Attributes:
        active: id of the active version, None without one.
        standing: one of `names.STANDINGS`.
        swaps: outcome -> how often a swap or rollback ended so.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.active: str | None = None
        self.standing = STANDINGS[-1]
        self.swaps = Counter(dict.fromkeys(SWAP_OUTCOMES, 0))
