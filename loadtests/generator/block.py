"""What the generator is told to send, and what it brings back; both travel between processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# In place of an HTTP status, where there is none.
UNANSWERED, NOT_CONNECTED, CONNECTION_LOST = 0, -1, -2
# The generator itself had no descriptor or port left for a connection: nothing that is the server's.
EXHAUSTED = -3
# The status of a good answer, and what is added to gRPC's code of another one.
OK, GRPC = 200, 10_000
# What checking an answer found.
UNCHECKED, WRONG, RIGHT = -1, 0, 1

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Block:
    """Some seconds of traffic to one version.

    Attributes:
        pool: which of the prepared pools of requests is drawn from.
        planned_s: when each request is due, ascending, counted from the block's start.
        rows: which request of the pool is sent at each of these times.
        timeout_s: an answer that takes longer than this counts as none.
        connections: opened before the first request.
    """

    pool: str
    planned_s: Seconds
    rows: NDArray[np.int32]
    timeout_s: float = 10.0
    connections: int = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and how long its JSON is; 0 where all of it is."""

    body: bytes
    json_bytes: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a block; arrays are parallel to the block's.

    Attributes:
        began_s: the block's start on the machine's monotonic clock.
        planned_s: as asked.
        sent_s: when the generator came to the request; its distance from `planned_s` is the generator's lag. It was
            written then, or as soon as a connection was free: that wait is the server's, and part of the latency.
        done_s: when its answer was whole; NaN where none came.
        status: of HTTP, `GRPC` and gRPC's code, or one of the constants above; `OK` of either where it is well.
        rows: as asked.
        checked: `RIGHT` or `WRONG` for an answer that was compared with what was expected, else `UNCHECKED`.
        classes: the class that the answer names, -1 where none was read.
        answered: which of `versions` gave each answer, -1 where none did; None for requests that name their version.
        versions: that answered, where the requests name none.
    """

    began_s: float
    planned_s: Seconds
    sent_s: Seconds
    done_s: Seconds
    status: NDArray[np.int16]
    rows: NDArray[np.int32]
    checked: NDArray[np.int8]
    classes: NDArray[np.int32]
    answered: NDArray[np.int16] | None = None
    versions: tuple[str, ...] = ()

    @property
    def latency_s(self) -> Seconds:
        """From the planned time on, so that a late generator or a full connection pool flatters nobody."""
        return self.done_s - self.planned_s

    @property
    def lag_s(self) -> Seconds:
        """How late the generator came to each request."""
        return self.sent_s - self.planned_s
