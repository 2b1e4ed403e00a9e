"""Counts a request of a version exactly once, whatever became of it and wherever: decoding, waiting, running, encoding.

What a client was told and what the statistics say is the same thing. Knows nothing of transports.
"""

from __future__ import annotations

import time
from types import TracebackType

from service.core.contract import InferResponse
from service.observe.statistics import VersionStatistics
from service.serving.failures import failure_reason


class Counted:
    """One request: `with Counted(servable.statistics) as counted`, around all that may still fail it.

    A block that ends well must have called `answered`; one that ends with an error is a failure for its reason.
    """

    __slots__ = ("_answer", "_began_ns", "_statistics")

    def __init__(self, statistics: VersionStatistics) -> None:
        self._statistics = statistics
        self._answer: InferResponse | None = None
        self._began_ns = time.perf_counter_ns()

    def __enter__(self) -> Counted:
        return self

    def by(self, statistics: VersionStatistics) -> None:
        """Another version answers than the one that was asked first: it counts the request, and that one does not."""
        self._statistics = statistics

    def answered(self, answer: InferResponse) -> None:
        """Takes note of the answer, whose phases are counted if it can be given."""
        self._answer = answer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took_ns = time.perf_counter_ns() - self._began_ns
        if error is not None:
            self._statistics.request_failed(failure_reason(error), took_ns)
        elif self._answer is not None:
            self._statistics.request_done(took_ns, self._answer.timing, cached=self._answer.cached)
