"""The batcher's decisions, as tables."""

from __future__ import annotations

import math

import pytest

from service.batching.contract import CloseReason
from service.batching.policy import (
    Patience,
    Waiting,
    batch_rows,
    close_reason,
    give_up_at_s,
    hold_until_s,
    piece_bounds,
    predicted_wait_s,
    retry_after_s,
)

NOW = -math.inf


def waiting(rows: int, *, others: bool = False, idle: int = 1, preferred: tuple[int, ...] = (), draining: bool = False):
    return Waiting(rows, others, idle, max_rows=8, preferred_rows=preferred, draining=draining)


@pytest.mark.parametrize(
    ("bucket", "patience", "until_s", "reason"),
    [
        (waiting(3), Patience(10.0, math.inf, 0.1, 8), 10.0, CloseReason.DELAY),
        (waiting(3), Patience(10.0, 9.0, 0.1, 8), 8.8, CloseReason.DEADLINE),
        (waiting(3), Patience(10.0, 10.3, 0.1, 8), 10.0, CloseReason.DELAY),
        (waiting(8), Patience(10.0, math.inf, 0.1, 8), NOW, CloseReason.FULL),
        (waiting(9), Patience(10.0, math.inf, 0.1, 32), NOW, CloseReason.FULL),
        (waiting(4), Patience(10.0, math.inf, 0.1, 4), NOW, CloseReason.FULL),
        (waiting(4, preferred=(4,)), Patience(10.0, math.inf, 0.1, 8), NOW, CloseReason.FULL),
        (waiting(3, preferred=(4,)), Patience(10.0, math.inf, 0.1, 8), 10.0, CloseReason.DELAY),
        (waiting(3, others=True), Patience(10.0, math.inf, 0.1, 8), 10.0, CloseReason.DELAY),
        (waiting(3, draining=True), Patience(10.0, math.inf, 0.1, 8), NOW, CloseReason.DRAIN),
    ],
    ids=[
        "waits for the delay",
        "starts two runs before a deadline",
        "a late deadline does not matter",
        "full",
        "over full",
        "more rows would gain nothing",
        "a preferred size is there",
        "a preferred size is not there yet",
        "another shape does not flush it",
        "nothing more will come",
    ],
)
def test_how_long_an_idle_engine_waits_for_more(
    bucket: Waiting, patience: Patience, until_s: float, reason: CloseReason
) -> None:
    held_s, held_for = hold_until_s(bucket, patience)
    assert (held_s, held_for) == (pytest.approx(until_s), reason)


@pytest.mark.parametrize(
    ("bucket", "best", "rows"),
    [
        (waiting(3), 3, 3),
        (waiting(20), 8, 8),
        (waiting(20), 4, 4),
        (waiting(6, idle=2), 3, 3),
        (waiting(7, idle=2), 4, 4),
        (waiting(1, idle=3), 1, 1),
        (waiting(20, preferred=(2, 6)), 4, 6),
        (waiting(5, preferred=(2, 6)), 4, 2),
        (waiting(1, preferred=(2, 6)), 4, 1),
        (waiting(20, preferred=(16,)), 4, 8),
    ],
    ids=[
        "all there is",
        "the maximum",
        "the curve's best",
        "half for each of two idle engines",
        "the larger half first",
        "more engines than rows",
        "the largest preferred size goes before the curve",
        "the largest preferred size there is",
        "no preferred size is there: all",
        "a preferred size over the maximum does not count",
    ],
)
def test_how_many_rows_a_batch_aims_at(bucket: Waiting, best: int, rows: int) -> None:
    assert batch_rows(bucket, lambda available: min(available, best)) == rows


@pytest.mark.parametrize(
    ("bucket", "taken", "reason"),
    [
        (waiting(3), 3, CloseReason.IDLE_RUNNER),
        (waiting(3, others=True), 3, CloseReason.SHAPE_CHANGE),
        (waiting(3, draining=True), 3, CloseReason.DRAIN),
        (waiting(20), 8, CloseReason.FULL),
        (waiting(8), 8, CloseReason.FULL),
        (waiting(20, draining=True), 8, CloseReason.FULL),
        (waiting(5), 4, CloseReason.FULL),
        (waiting(6, idle=2), 3, CloseReason.IDLE_RUNNER),
    ],
)
def test_why_a_batch_is_closed(bucket: Waiting, taken: int, reason: CloseReason) -> None:
    assert close_reason(bucket, taken) is reason


def test_close_reasons_have_the_names_that_metrics_use() -> None:
    names = {"full", "idle_runner", "delay", "shape_change", "deadline", "drain"}
    assert {str(reason) for reason in CloseReason} == names


@pytest.mark.parametrize(
    ("queued_rows", "rows_per_s", "engines", "free_in_s", "wait_s"),
    [
        (0, 100.0, 1, 0.0, 0.0),
        (50, 100.0, 1, 0.0, 0.5),
        (50, 100.0, 2, 0.0, 0.25),
        (50, 100.0, 1, 0.1, 0.6),
        (50, 100.0, 1, -3.0, 0.5),
        (50, 100.0, 1, -math.inf, 0.5),
        (50, 100.0, 0, 0.0, 0.5),
        (50, math.inf, 1, 0.0, 0.0),
    ],
    ids=["idle", "a queue", "two engines", "and what runs", "overdue", "an idle engine", "none yet", "not measured"],
)
def test_predicted_wait(queued_rows: int, rows_per_s: float, engines: int, free_in_s: float, wait_s: float) -> None:
    assert predicted_wait_s(queued_rows, rows_per_s, engines, free_in_s) == pytest.approx(wait_s)


@pytest.mark.parametrize(("wait_s", "seconds"), [(0.0, 1), (0.5, 1), (2.5, 3), (3.0, 3), (1e4, 60), (math.inf, 60)])
def test_retry_after_is_the_predicted_wait_in_whole_seconds(wait_s: float, seconds: int) -> None:
    assert retry_after_s(wait_s) == seconds


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [(8, [(0, 8)]), (9, [(0, 8), (8, 9)]), (16, [(0, 8), (8, 16)]), (20, [(0, 8), (8, 16), (16, 20)])],
)
def test_an_oversize_request_is_cut_into_pieces_of_the_maximum(rows: int, pieces: list[tuple[int, int]]) -> None:
    assert list(piece_bounds(rows, 8)) == pieces


@pytest.mark.parametrize(
    ("stopped_s", "at_s"),
    [(1.0, 32.0), (30.0, 32.0), (31.0, 33.0), (math.inf, math.inf)],
    ids=[
        "a client left: the run may still take its time, and then the grace",
        "the grace after the timeout",
        "asked late, it has its grace all the same",
        "nobody asked it to stop",
    ],
)
def test_when_an_engine_is_given_up(stopped_s: float, at_s: float) -> None:
    assert give_up_at_s(0.0, stopped_s, timeout_s=30.0, grace_s=2.0) == at_s
