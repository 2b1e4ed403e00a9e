"""Which batch comes next: halves of a failed one, then the oldest shape, unless a delay holds it back."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from service.batching.contract import BatchConfig, CloseReason
from service.batching.curve import CostCurve
from service.batching.forming import Former
from service.batching.line import Line
from service.batching.run import Run
from service.batching.ticket import Piece, Ticket, cut
from tests.fakes import ids


class Waiter:
    left = False

    def done(self) -> bool:
        return self.left


def ticket(
    first: int, rows: int = 1, *, width: int = 2, arrived_s: float = 0.0, deadline_s: float = math.inf
) -> Ticket:
    made = Ticket(Waiter(), arrived_s, deadline_s)  # type: ignore[arg-type]
    cut(made, ids(first, rows, width), rows, max_rows=8, alone=False)
    return made


def former(*tickets: Ticket, config: BatchConfig | None = None, curve: CostCurve | None = None) -> Former:
    made = Former(config or BatchConfig(max_rows=8), curve or CostCurve(8))
    for each in tickets:
        made.add(each)
    return made


def next_rows(forming: Former, now_s: float = 0.0, *, idle: int = 1, draining: bool = False) -> list[float] | None:
    run = forming.next_run(now_s, idle, draining=draining)
    return None if run is None else [row for piece in run.pieces for row in piece.inputs["x"][:, 0]]


@pytest.mark.parametrize(("waiting", "seen"), [(100, 9), (5, 5 + 5)])
def test_a_full_batch_is_formed_without_a_look_at_the_many_that_wait(
    waiting: int, seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forming = former(*(ticket(n) for n in range(waiting)), config=BatchConfig(max_rows=8, max_delay_s=1.0))
    looked: list[Piece] = []
    everyone = Line.__iter__

    def noted(line: Line) -> Iterator[Piece]:
        for piece in everyone(line):
            looked.append(piece)
            yield piece

    monkeypatch.setattr(Line, "__iter__", noted)
    rows = next_rows(forming, 5.0)  # control: five are not full, and their patience is over
    assert rows is not None
    assert len(rows) == min(8, waiting)
    assert len(looked) == seen


def test_nothing_waits() -> None:
    forming = former()
    assert forming.empty
    assert next_rows(forming) is None
    assert forming.hold_until_s == math.inf


def test_what_waits_goes_at_once() -> None:
    forming = former(ticket(1), ticket(2, 3))
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    assert (run.rows, run.reason, forming.empty) == (4, CloseReason.IDLE_RUNNER, True)


def test_shapes_go_in_order_of_arrival_and_say_why_they_are_small() -> None:
    forming = former(ticket(1, width=1), ticket(2, width=2), ticket(3, width=1))
    first = forming.next_run(0.0, 1, draining=False)
    assert first is not None
    assert (first.rows, first.reason) == (2, CloseReason.SHAPE_CHANGE)
    assert next_rows(forming) == [2]


def test_the_curve_decides_how_many() -> None:
    curve = CostCurve(8)
    for rows, rate in ((1, 80), (4, 100), (8, 90)):
        curve.observe(rows, rows / rate)
    forming = former(*(ticket(n) for n in range(6)), curve=curve)
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    assert (run.rows, run.reason) == (4, CloseReason.FULL)
    assert next_rows(forming) == [4, 5]


def test_idle_engines_share_what_waits() -> None:
    forming = former(*(ticket(n) for n in range(5)))
    assert next_rows(forming, idle=2) == [0, 1, 2]
    assert next_rows(forming, idle=1) == [3, 4]


def test_halves_of_a_failed_batch_go_first_in_order() -> None:
    forming = former(*(ticket(n) for n in range(5)))
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    forming.add(ticket(9))
    forming.bisect(run)
    assert [next_rows(forming) for _ in range(4)] == [[0, 1], [2, 3, 4], [9], None]


def test_a_half_of_a_half_goes_before_the_other_half() -> None:
    forming = former(*(ticket(n) for n in range(4)))
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    forming.bisect(run)
    half = forming.next_run(0.0, 1, draining=False)
    assert half is not None
    forming.bisect(half)
    assert [next_rows(forming) for _ in range(3)] == [[0], [1], [2, 3]]


def test_who_has_left_is_left_out_even_a_whole_batch() -> None:
    left, half_left = [ticket(n, width=1) for n in range(3)], ticket(7)
    forming = former(*left, half_left, stays := ticket(8))
    for each in (*left, half_left):
        each.future.left = True  # type: ignore[attr-defined]
    assert next_rows(forming) == [8]
    assert stays.pieces[0].run is not None
    assert forming.empty


def test_a_half_that_nobody_wants_is_skipped() -> None:
    tickets = [ticket(n) for n in range(4)]
    forming = former(*tickets)
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    forming.bisect(run)
    for each in tickets[:2]:
        each.ended = True
    assert next_rows(forming) == [2, 3]


def test_discard_and_clear() -> None:
    gone, stays = ticket(1), ticket(2)
    forming = former(gone, stays)
    forming.discard(gone.pieces[0])
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    assert run.pieces == stays.pieces
    forming.bisect(Run([*gone.pieces, *stays.pieces], CloseReason.FULL))
    forming.add(ticket(3))
    assert not forming.empty
    forming.clear()
    assert forming.empty
    assert next_rows(forming) is None


DELAYED = BatchConfig(max_rows=4, max_delay_s=0.5)


def test_a_delay_holds_a_batch_until_its_oldest_has_waited_so_long() -> None:
    forming = former(ticket(1, arrived_s=10.0), ticket(2, arrived_s=10.3), config=DELAYED)
    assert next_rows(forming, 10.4) is None
    assert forming.hold_until_s == 10.5
    run = forming.next_run(10.5, 1, draining=False)
    assert run is not None
    assert (run.rows, run.reason) == (2, CloseReason.DELAY)


@pytest.mark.parametrize(
    ("rows", "draining", "reason"),
    [(4, False, CloseReason.FULL), (2, True, CloseReason.DRAIN)],
)
def test_nothing_is_held_that_is_full_or_the_last(rows: int, draining: bool, reason: CloseReason) -> None:
    forming = former(ticket(1, rows, arrived_s=10.0), config=DELAYED)
    run = forming.next_run(10.0, 1, draining=draining)
    assert run is not None
    assert run.reason is reason


def test_a_deadline_ends_the_delay() -> None:
    curve = CostCurve(4)
    curve.observe(1, 0.1)
    forming = former(ticket(1, arrived_s=10.0, deadline_s=10.4), config=DELAYED, curve=curve)
    assert next_rows(forming, 10.1) is None
    assert forming.hold_until_s == pytest.approx(10.2)
    run = forming.next_run(10.21, 1, draining=False)
    assert run is not None
    assert run.reason is CloseReason.DEADLINE


def test_a_held_shape_holds_up_no_other() -> None:
    young = [ticket(n, width=1, arrived_s=10.1) for n in range(4)]
    forming = former(ticket(9, width=2, arrived_s=10.0), *young, config=DELAYED)
    assert next_rows(forming, 10.2) == [0, 1, 2, 3]
    assert next_rows(forming, 10.2) is None
    assert forming.hold_until_s == 10.5


def test_the_soonest_of_the_held_shapes_says_when_to_ask_again() -> None:
    forming = former(
        ticket(1, width=1, arrived_s=10.0), ticket(2, width=2, arrived_s=10.1, deadline_s=10.3), config=DELAYED
    )
    assert next_rows(forming, 10.2) is None
    assert forming.hold_until_s == 10.3


def test_who_runs_alone_waits_for_nobody() -> None:
    alone = Ticket(Waiter(), 10.0, math.inf)  # type: ignore[arg-type]
    cut(alone, ids(1, 1), None, max_rows=4, alone=False)
    assert next_rows(former(alone, config=DELAYED), 10.0) == [1]


def test_where_requests_never_mix_others_are_no_reason() -> None:
    first, second = (Ticket(Waiter(), 0.0, math.inf) for _ in range(2))  # type: ignore[arg-type]
    for each in (first, second):
        cut(each, ids(1, 1), 1, max_rows=4, alone=True)
    forming = former(first, second, config=BatchConfig(max_rows=4, mixes=False))
    run = forming.next_run(0.0, 1, draining=False)
    assert run is not None
    assert run.reason is CloseReason.IDLE_RUNNER
