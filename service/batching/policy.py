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

_LEAST_BIAS, _MOST_BIAS = 0.25, 4.0  # of a forecast: beyond, it is the forecast's unit that is wrong
_BIAS_WEIGHT = 0.1  # of a new wait
_LEAST_TOLD_S = 0.002  # shorter waits are noise
_BURST_S, _BURST_RUNS = 1.0, 16  # in which a burst drains, where the operator does not say: both at least
_STANDS_AFTER_S = 1.0  # at least: Poisson arrivals at the knee keep waits long for some tenths of a second
_TARGET_SHARE, _TARGET_RUNS = 0.25, 2  # of the burst's time; two runs keep the next batch full while one runs
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
    if not waiting.preferred_rows:
        return best_rows(share)
    return max((rows for rows in waiting.preferred_rows if rows <= share), default=share)


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


class WaitLimits(NamedTuple):
    """How long newcomers may have to wait.

    Attributes:
        target_s: once the queue stands.
        burst_s: before.
        stands_after_s: for how long all must have waited longer than the target until it stands.
    """

    target_s: float
    burst_s: float
    stands_after_s: float


def wait_limits(run_s: float, most_s: float | None) -> WaitLimits:
    """The limits of a queue whose best batch runs for `run_s`.

    Args:
        run_s: seconds of a run at the best rate; 0 while nothing is measured.
        most_s: the longest wait as the operator wants it, `inf` for any; None leaves it to the run.
    """
    burst_s = max(_BURST_S, _BURST_RUNS * run_s) if most_s is None else most_s
    target_s = min(burst_s, max(_TARGET_SHARE * burst_s, _TARGET_RUNS * run_s))
    return WaitLimits(target_s, burst_s, max(_STANDS_AFTER_S, burst_s))


def short_wait_s(most_s: float | None) -> float:
    """A wait that is within every target of `wait_limits`, whatever a run takes."""
    return _TARGET_SHARE * (_BURST_S if most_s is None else most_s)


def corrected_bias(bias: float, predicted_s: float, waited_s: float) -> float:
    """By how much forecasts are to be multiplied, after one wait more.

    Args:
        bias: so far; 1 for none.
        predicted_s: with that bias in it; waits shorter than some milliseconds say nothing.
        waited_s: what it came to.
    """
    if predicted_s < _LEAST_TOLD_S:
        return bias
    right = min(_MOST_BIAS, max(_LEAST_BIAS, bias * waited_s / predicted_s))
    return bias + _BIAS_WEIGHT * (right - bias)


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
