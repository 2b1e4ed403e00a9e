"""Between a batcher and its version's statistics: notes when a batch last ended, whoever's it was."""

from __future__ import annotations

from service.batching.contract import BatchReport, DropReason
from service.core.clock import Clock
from service.observe.statistics import VersionStatistics


class Pulse:
    """A `BatchObserver` that keeps the time of the last batch and passes everything on.

    Attributes:
        last_batch_s: when a batch last ended, on the clock; when the pulse was made, before the first.
    """

    def __init__(self, statistics: VersionStatistics, clock: Clock) -> None:
        self._statistics = statistics
        self._clock = clock
        self.last_batch_s = clock.now_s()

    def batch_ran(self, report: BatchReport) -> None:
        """A batch ended well; one that held nothing but the server's own probe is no client's."""
        self.last_batch_s = self._clock.now_s()
        if report.requests:
            self._statistics.batch_ran(report)

    def run_failed(self, rows: int, requests: int, error: BaseException, detail: str) -> None:
        """A run failed, which is no sign of life; one of the server's own probe alone is no client's."""
        if requests:
            self._statistics.run_failed(rows, requests, error, detail)

    def dropped(self, reason: DropReason) -> None:
        """A request left without an answer."""
        self._statistics.dropped(reason)

    def crashed(self, error: BaseException) -> None:
        """The batcher failed and restarts."""
        self._statistics.crashed(error)
