"""What the batcher decides, as pure functions of a snapshot.

When a batch closes and with how many rows, how long a newcomer would wait, where an oversize request is cut, when an
engine that does not stop is given up. Knows neither threads nor clocks; its test is tables, each row a sentence of the
design.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from service.batching.contract import CloseReason

_LEAD = 2.0  # a batch that must meet a deadline starts this many predicted runs before it


class Waiting(NamedTuple):
    """The bucket that may become the next batch, and what is around it.

    Attributes:
        rows: waiting in this bucket.
        others: whether requests of other shapes wait too.
        idle_engines: at least 1.
        max_rows: no batch is larger.
        preferred_rows: sizes that the operator prefers; empty for the curve's choice.
        draining: nothing more will arrive.
    """

    rows: int
    others: bool
    idle_engines: int
    max_rows: int
    preferred_rows: tuple[int, ...] = ()
    draining: bool = False


class Patience(NamedTuple):
    """How long the bucket could wait for more rows.

    Attributes:
        until_s: arrival of its oldest request plus the delay knob.
        soonest_deadline_s: of its requests, or when the time of one to wait is over; `inf` without either.
        predicted_s: of a run of its rows.
        full_rows: more rows than this give no better rate.
    """

    until_s: float
    soonest_deadline_s: float
    predicted_s: float
    full_rows: int


def hold_until_s(waiting: Waiting, patience: Patience) -> tuple[float, CloseReason]:
    """Until when an idle engine waits for more rows, and the reason with which the batch closes then.

    Not at all (-inf) when more rows would gain nothing or none will come.
    """
    if waiting.draining:
        return -math.inf, CloseReason.DRAIN
    if waiting.rows >= min(patience.full_rows, waiting.max_rows) or waiting.rows in waiting.preferred_rows:
        return -math.inf, CloseReason.FULL
    last_start_s = patience.soonest_deadline_s - _LEAD * patience.predicted_s
    if last_start_s < patience.until_s:
        return last_start_s, CloseReason.DEADLINE
    return patience.until_s, CloseReason.DELAY


def batch_rows(waiting: Waiting, best_rows: Callable[[int], int]) -> int:
    """How many rows the next batch aims at: an engine's share, of the best rate, never over the maximum.

    `best_rows` is the cost curve's choice among sizes up to its argument.
    """
    share = min(math.ceil(waiting.rows / waiting.idle_engines), waiting.max_rows)
    preferred = [rows for rows in waiting.preferred_rows if rows <= share]
    if preferred:
        return max(preferred)
    return share if waiting.preferred_rows else best_rows(share)


def close_reason(waiting: Waiting, taken_rows: int) -> CloseReason:
    """Why a batch that was not held back took no more than `taken_rows` rows."""
    share = math.ceil(waiting.rows / waiting.idle_engines)
    if taken_rows >= waiting.max_rows or taken_rows < share:
        return CloseReason.FULL
    if waiting.draining:
        return CloseReason.DRAIN
    return CloseReason.SHAPE_CHANGE if waiting.others else CloseReason.IDLE_RUNNER


def predicted_wait_s(queued_rows: int, rows_per_s: float, engines: int, free_in_s: float) -> float:
    """Seconds until a request that arrives now starts to run, if all goes well.

    Args:
        queued_rows: waiting before it.
        rows_per_s: of one engine at its best.
        engines: in service; 0 while the only one is being replaced.
        free_in_s: until the first of them is predicted to be idle; negative when it is overdue.
    """
    return max(0.0, free_in_s) + queued_rows / (rows_per_s * max(1, engines))


def retry_after_s(wait_s: float) -> int:
    """Whole seconds after which a queue that takes `wait_s` is gone, within 1 to 60."""
    return max(1, math.ceil(min(wait_s, 60.0)))


def piece_bounds(rows: int, max_rows: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of each piece of a request with `rows` > 0 rows: as large as allowed, the rest last."""
    for start in range(0, rows, max_rows):
        yield start, min(start + max_rows, rows)


def give_up_at_s(started_s: float, stopped_s: float, *, timeout_s: float, grace_s: float) -> float:
    """When an engine that was asked to stop counts as stuck.

    The grace after the request to stop, but no run is called stuck while it may still take its time: clients that
    leave in the middle of a long operator, which cannot be stopped, must not cost an engine, however short their
    patience. What a run of so many rows usually takes says nothing here, since rows differ in length.

    Args:
        started_s: when the run was handed over.
        stopped_s: when its engine was asked to stop.
        timeout_s: the most that a run may take.
        grace_s: to obey in.
    """
    return max(stopped_s, started_s + timeout_s) + grace_s
