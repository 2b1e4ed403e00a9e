"""Between a batcher and its version's statistics: notes when a batch last ended and how long one may take."""

from __future__ import annotations

from service.batching.contract import BatchReport, DropReason, RefusalReason
from service.core.clock import Clock
from service.core.errors import Unavailable
from service.observe.statistics import VersionStatistics

_FADE = 0.99


class Pulse:
    """A `BatchObserver` that keeps what batches say of a version's health and passes everything on.

    Attributes:
        last_batch_s: when a batch last ended, on the clock; when the pulse was made, before the first.
        last_refusal_s: when a run last failed on its requests, which shows that its runner moves, not that it is well.
        slowest_run_s: of the slowest run in memory, which fades by a hundredth with each that follows.
    """

    def __init__(self, statistics: VersionStatistics, clock: Clock) -> None:
        self._statistics = statistics
        self._clock = clock
        self.last_batch_s = self.last_refusal_s = clock.now_s()
        self.slowest_run_s = 0.0

    def batch_ran(self, report: BatchReport) -> None:
        """A batch ended well; one that held nothing but the server's own probe is no client's."""
        self.last_batch_s = self._clock.now_s()
        run_s = (report.input_ns + report.infer_ns + report.output_ns) / 1e9
        self.slowest_run_s = max(run_s, _FADE * self.slowest_run_s)
        if report.requests:
            self._statistics.batch_ran(report)

    def run_failed(self, rows: int, requests: int, error: BaseException, detail: str) -> None:
        """A run failed, which is no sign of health; one of the server's own probe alone is no client's."""
        if not isinstance(error, Unavailable):
            self.last_refusal_s = self._clock.now_s()
        if requests:
            self._statistics.run_failed(rows, requests, error, detail)

    def dropped(self, reason: DropReason) -> None:
        """A request left without an answer."""
        self._statistics.dropped(reason)

    def refused(self, reason: RefusalReason) -> None:
        """A request was not let in."""
        self._statistics.refused(reason)

    def crashed(self, error: BaseException) -> None:
        """The batcher failed and restarts."""
        self._statistics.crashed(error)
