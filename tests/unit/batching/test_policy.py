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
    corrected_bias,
    give_up_at_s,
    hold_until_s,
    piece_bounds,
    predicted_wait_s,
    retry_after_s,
    short_wait_s,
    wait_limits,
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


@pytest.mark.parametrize(
    ("run_s", "most_s", "limits"),
    [
        (0.0, None, (0.25, 1.0, 1.0)),
        (0.005, None, (0.25, 1.0, 1.0)),
        (0.2, None, (0.8, 3.2, 3.2)),
        (0.005, 0.1, (0.025, 0.1, 1.0)),
        (0.03, 0.1, (0.06, 0.1, 1.0)),
        (0.2, 0.1, (0.1, 0.1, 1.0)),
        (0.2, math.inf, (math.inf, math.inf, math.inf)),
    ],
    ids=[
        "nothing is measured",
        "short runs: a second",
        "long runs: sixteen of them, and four once it stands",
        "as the operator says, and a quarter once it stands",
        "but two runs, so that the next batch is full",
        "and never more than the operator says",
        "no limit",
    ],
)
def test_how_long_a_newcomer_may_have_to_wait(
    run_s: float, most_s: float | None, limits: tuple[float, float, float]
) -> None:
    assert wait_limits(run_s, most_s) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("bias", "predicted_s", "waited_s", "corrected"),
    [
        (1.0, 0.1, 0.1, 1.0),
        (1.0, 0.1, 0.2, 1.1),
        (1.0, 0.1, 0.05, 0.95),
        (2.0, 0.2, 0.1, 1.9),
        (1.0, 0.1, 100.0, 1.3),
        (1.0, 0.1, 0.0, 0.925),
        (1.0, 0.001, 100.0, 1.0),
    ],
    ids=["right", "too low", "too high", "too high by a bias", "an outlier", "the other way", "too short to tell"],
)
def test_a_forecast_is_put_right_by_the_waits(
    bias: float, predicted_s: float, waited_s: float, corrected: float
) -> None:
    assert corrected_bias(bias, predicted_s, waited_s) == pytest.approx(corrected)


@pytest.mark.parametrize("most_s", [None, 0.0, 0.02, 5.0, math.inf])
@pytest.mark.parametrize("run_s", [0.0, 1e-5, 0.2, 30.0])
def test_a_short_wait_is_within_every_target(most_s: float | None, run_s: float) -> None:
    short_s = short_wait_s(most_s)
    assert short_s <= wait_limits(run_s, most_s).target_s
    assert short_s == wait_limits(0.0, most_s).target_s, "and no shorter than it need be"


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7, 3.0])
def test_a_forecast_that_is_wrong_by_a_factor_finds_it(factor: float) -> None:
    bias = 1.0
    for _ in range(100):
        bias = corrected_bias(bias, bias * 0.1, factor * 0.1)
    assert bias == pytest.approx(factor, rel=0.01)
