"""What was seen of one version in one round, and in all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loadtests.generator.block import CONNECTION_LOST, EXHAUSTED, GRPC, NOT_CONNECTED, OK, UNANSWERED, WRONG, Sent

_NAMES = {
    UNANSWERED: "no answer in time",
    NOT_CONNECTED: "no connection",
    CONNECTION_LOST: "connection lost",
    EXHAUSTED: "not offered",
}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the server's own counters say of a block; None where it does not tell.

    Attributes:
        requests: that it answered.
        executions: runs; rows / executions is the mean batch.
        rows: that were run.
        queue_ms: mean wait of a request.
        compute_ms: mean time of a request's run, with what goes in and out.
        cpu_s: CPU time of the server's process.
        joules: of the whole package, where the machine tells.
        resident_bytes: of the server's process at the end.
    """

    requests: int | None = None
    executions: int | None = None
    rows: int | None = None
    queue_ms: float | None = None
    compute_ms: float | None = None
    cpu_s: float | None = None
    joules: float | None = None
    resident_bytes: int | None = None


@dataclass(frozen=True)
class Observed:
    """One block.

    Attributes:
        version: a label of the version, and of the server where there are several.
        round: the block's round.
        sent: what the generator brought back.
        lasts_s: how long the block's profile is.
        server: what the server's counters say.
        labels: the right class of each row of the pool; None where nobody knows.
    """

    version: str
    round: int
    sent: Sent
    lasts_s: float
    server: ServerSide
    labels: NDArray[np.int64] | None = None

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Which requests were answered, and not wrongly."""
        return (self.sent.status == OK) & (self.sent.checked != WRONG)

    @cached_property
    def latency_ms(self) -> Floats:
        """Of the good answers, from their planned times on."""
        return self.sent.latency_s[self.good] * 1e3

    @property
    def reached_nobody(self) -> bool:
        """Whether there were requests, and not one of them found a server."""
        status = self.sent.status
        return bool(len(status)) and bool(np.isin(status, (NOT_CONNECTED, CONNECTION_LOST)).all())

    def errors(self) -> Counter[str]:
        """Kind -> number, of all that is not good."""
        statuses, found = np.unique(self.sent.status[self.sent.status != OK], return_counts=True)
        kinds = {_named(int(s)): int(n) for s, n in zip(statuses, found, strict=True)}
        wrong = int(((self.sent.status == OK) & (self.sent.checked == WRONG)).sum())
        return Counter(kinds | ({"wrong answer": wrong} if wrong else {}))

    def in_time(self, limit_ms: float | None) -> NDArray[np.bool_]:
        """Which requests were answered well and within the limit; without one, well."""
        return self.good if limit_ms is None else self.good & (self.sent.latency_s * 1e3 <= limit_ms)

    def right_in_time(self, limit_ms: float | None) -> float:
        """Share of all requests whose answer was in time and names the label's class; NaN without labels."""
        if self.labels is None:
            return float("nan")
        named = self.sent.classes == self.labels[self.sent.rows]
        return float((named & self.in_time(limit_ms)).mean())


def _named(status: int) -> str:
    return _NAMES.get(status, f"status {status}" if status < GRPC else f"gRPC status {status - GRPC}")


def by_version(blocks: Sequence[Observed]) -> Mapping[str, tuple[Observed, ...]]:
    """Version -> its blocks by round; every version has one in every whole round, and only those are kept."""
    versions = sorted({block.version for block in blocks})
    seen = Counter(block.round for block in blocks)
    whole = sorted(number for number, count in seen.items() if count == len(versions))
    found = {(block.version, block.round): block for block in blocks}
    return {version: tuple(found[version, number] for number in whole) for version in versions}
