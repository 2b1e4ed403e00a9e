"""The property test is worth something: each fault planted into the batcher is found by it.

The first five are the classic ones of batchers: rows swapped, a ticket ended twice, a ticket lost, a batch over the
maximum, an expiry too late. Control: without a fault the same scenarios pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from service.batching import batch, forming, intake, ticket
from service.batching.batcher import Batcher
from service.batching.contract import Answer, CloseReason
from service.batching.expiry import Expiry
from service.batching.forming import Former
from service.batching.ledger import Ledger
from service.batching.levels import Levels
from service.batching.line import Line
from service.batching.order import Order
from service.batching.outcomes import Outcomes
from service.batching.queue import Queue
from tests.unit.batching.player import play
from tests.unit.batching.scenario import Scenario
from tests.unit.batching.scenarios import scenarios

Patch = pytest.MonkeyPatch


def swapped_rows(patch: Patch) -> None:
    intact = batch.split

    def split(outputs: Any, pieces: Any) -> list[Any]:
        parts = intact(outputs, pieces)
        if len(parts) > 1 and pieces[0].rows == pieces[1].rows:
            parts[0], parts[1] = parts[1], parts[0]
        return parts

    patch.setattr(batch, "split", split)


def ended_twice(patch: Patch) -> None:
    def end(self: Ledger, ticket: Any, outcome: Any) -> bool:
        self._open.pop(ticket.number, None)
        ticket.ended = True
        if not ticket.future.cancelled():
            settle = ticket.future.set_result if isinstance(outcome, Answer) else ticket.future.set_exception
            settle(outcome)
        return True

    patch.setattr(Ledger, "_end", end)


def lost_ticket(patch: Patch) -> None:
    intact = Queue.take

    def take(self: Queue, *args: Any) -> list[Any]:
        taken = intact(self, *args)
        return taken[:-1] if len(taken) > 1 else taken

    patch.setattr(Queue, "take", take)


def batch_over_the_maximum(patch: Patch) -> None:
    intact = forming.batch_rows
    patch.setattr(forming, "batch_rows", lambda waiting, best_rows: intact(waiting, best_rows) + 1)


def piece_over_the_maximum(patch: Patch) -> None:
    intact = ticket.piece_bounds
    patch.setattr(ticket, "piece_bounds", lambda rows, max_rows: intact(rows, max_rows + 1))


def late_expiry(patch: Patch) -> None:
    def next_deadline_s(self: Ledger) -> float:
        return float(intact.__get__(self)) + 0.02

    intact = Ledger.__dict__["next_deadline_s"]
    patch.setattr(Ledger, "next_deadline_s", property(next_deadline_s))


def answers_after_the_deadline(patch: Patch) -> None:
    late_expiry(patch)
    patch.setattr(Ledger, "answer", lambda self, ticket, answer, now_s: self._end(ticket, answer))


def runs_what_nobody_wants(patch: Patch) -> None:
    patch.setattr(Former, "discard", lambda self, piece: None)
    patch.setattr(ticket.Ticket, "wanted", property(lambda self: True))


def fails_the_mates_of_a_bad_row(patch: Patch) -> None:
    def failed(self: Outcomes, run: Any, error: BaseException, now_s: float) -> None:
        for piece in run.pieces:
            self._blame(piece, error, now_s)

    patch.setattr(Outcomes, "_failed", failed)


def runs_only_one_half(patch: Patch) -> None:
    intact = Former.bisect

    def bisect(self: Former, run: Any) -> None:
        intact(self, run)
        self._halves.pop()

    patch.setattr(Former, "bisect", bisect)


def youngest_shape_first(patch: Patch) -> None:
    intact = Queue.buckets

    def buckets(self: Queue) -> Iterator[Any]:
        return reversed(list(intact(self)))

    patch.setattr(Queue, "buckets", buckets)


def sleeps_after_a_run(patch: Patch) -> None:
    def run_returned(self: Batcher, run: Any) -> None:
        self._outcomes.judge(run, self._clock.now_s())
        self._note_drained()

    patch.setattr(Batcher, "run_returned", run_returned)


def forgets_to_expire(patch: Patch) -> None:
    patch.setattr(Expiry, "_end", lambda self, now_s: None)


def serves_every_level_alike(patch: Patch) -> None:
    patch.setattr(Levels, "of", lambda self, priority, quiet: self._default)


def serves_the_worst_level_first(patch: Patch) -> None:
    def first(self: Line) -> Any:
        return next(iter(self._ranks[max(self._ranks)].values()))

    patch.setattr(Line, "first", property(first))


def fills_a_batch_without_regard_to_level(patch: Patch) -> None:
    intact = Line.__iter__
    patch.setattr(Line, "__iter__", lambda self: iter(sorted(intact(self), key=lambda piece: piece.seq)))


def lets_a_timeout_lengthen_the_default(patch: Patch) -> None:
    def limit_s(policy: Any, timeout_s: float | None) -> float:
        return intact(policy, None) if timeout_s is None else timeout_s

    intact = intake.limit_s
    patch.setattr(intake, "limit_s", limit_s)


def runs_what_has_waited_too_long(patch: Patch) -> None:
    intact = Ledger.outwaited

    def outwaited(self: Ledger, now_s: float) -> Iterator[Any]:
        return iter([ticket for ticket in intact(self, now_s) if ticket.delays])

    patch.setattr(Ledger, "outwaited", outwaited)


def ends_what_may_be_late(patch: Patch) -> None:
    patch.setattr(ticket.Ticket, "delays", property(lambda self: False, lambda self, value: None))


def lets_the_delayed_keep_their_place(patch: Patch) -> None:
    patch.setattr(Former, "delay", lambda self, ticket: None)


def answers_in_any_order(patch: Patch) -> None:
    def answer(self: Order, ticket: Any, answer: Any, now_s: float) -> None:
        self._end(ticket, answer, now_s)
        self.leave(ticket, now_s)

    patch.setattr(Order, "answer", answer)


MUTATIONS: list[Callable[[Patch], None]] = [
    swapped_rows,
    ended_twice,
    lost_ticket,
    batch_over_the_maximum,
    piece_over_the_maximum,
    late_expiry,
    answers_after_the_deadline,
    runs_what_nobody_wants,
    fails_the_mates_of_a_bad_row,
    runs_only_one_half,
    youngest_shape_first,
    sleeps_after_a_run,
    forgets_to_expire,
    serves_every_level_alike,
    serves_the_worst_level_first,
    fills_a_batch_without_regard_to_level,
    lets_a_timeout_lengthen_the_default,
    runs_what_has_waited_too_long,
    ends_what_may_be_late,
    lets_the_delayed_keep_their_place,
    answers_in_any_order,
]


def look_for_a_broken_promise() -> Counter[str]:
    """Plays the same scenarios each time, until one breaks a promise; returns how often what happened."""
    happened: Counter[str] = Counter()

    def visit(scenario: Scenario) -> None:
        happened.update(play(scenario))

    settings(
        max_examples=250,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )(given(scenarios)(visit))()
    return happened


@pytest.mark.parametrize("plant", MUTATIONS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        look_for_a_broken_promise()


def test_control_without_a_fault_nothing_is_found_and_everything_happened() -> None:
    happened = look_for_a_broken_promise()
    often = {
        "answered": 300,
        "mixed": 50,
        "mixed run failed": 10,
        "RunFailed": 20,
        "left": 20,
        "Expired": 20,
        "series": 5,
    }
    for what, times in often.items():
        assert happened[what] >= times, f"only {happened[what]} x {what}"
    for what in ("Rejected", "Stuck", "NotReady", "Draining", *(f"closed: {reason}" for reason in CloseReason)):
        assert happened[what] > 0, f"no scenario led to {what}"
