"""The order of sequences, as plain bookkeeping: against a model of it, and the cases that matter by name."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.core.contract import SequenceStep
from service.core.errors import BadInput, Draining, Rejected
from service.observe.sequence_counts import SequenceCounts
from service.serving.sequences import SequenceLimits, Sequences, Turn

LIMITS = SequenceLimits(places=2, waiting=2, steps=6, idle_s=10.0)


def sequences(**limits: float) -> tuple[Sequences, SequenceCounts]:
    counts = SequenceCounts()
    values = {"places": 2, "waiting": 2, "steps": 100, "idle_s": 10.0} | limits
    return Sequences("m", SequenceLimits(**values), counts), counts  # type: ignore[arg-type]


def enter(book: Sequences, sequence_id: int, start: bool = False, end: bool = False) -> Turn:
    return book.enter(SequenceStep(sequence_id, start, end), lambda: None)


def test_one_request_of_a_sequence_at_a_time() -> None:
    book, _ = sequences()
    first, second = enter(book, 1, start=True), enter(book, 1)
    assert (first.granted, second.granted) == (True, False)
    book.leave(first, 0.0, "one")
    assert second.granted
    assert second.sequence.state == "one"


def test_a_place_goes_to_whoever_has_waited_longest() -> None:
    book, counts = sequences(places=1)
    first, second, third = (enter(book, i, start=True, end=True) for i in (1, 2, 3))
    assert [turn.granted for turn in (first, second, third)] == [True, False, False]
    book.leave(first, 0.0, "done")
    assert [second.granted, third.granted] == [True, False]
    book.leave(second, 0.0, "done")
    assert third.granted
    book.leave(third, 0.0, "done")
    assert (len(book), counts.started, counts.ended) == (0, 3, 3)


def test_a_start_that_left_before_its_turn_has_begun_the_sequence_anew_all_the_same() -> None:
    book, _ = sequences()
    first, restart, after = enter(book, 1, start=True), enter(book, 1, start=True), enter(book, 1)
    book.leave(restart, 0.0)
    book.leave(first, 0.0, "old")
    assert after.granted
    assert after.sequence.state is None, "the new sequence would go on with the old one's state"


def test_a_request_that_left_in_the_middle_changes_nothing_for_those_behind() -> None:
    book, _ = sequences()
    first, gone, after = enter(book, 1, start=True), enter(book, 1), enter(book, 1)
    book.leave(gone, 0.0)
    book.leave(first, 0.0, "one")
    assert after.sequence.state == "one"


@pytest.mark.parametrize("start", [False, True])
def test_requests_that_left_take_no_room_from_others(start: bool) -> None:
    """However many of them one client sent behind a request that runs for long: nor do they fill the memory."""
    book, _ = sequences(steps=2)
    first = enter(book, 1, start=True)
    for _ in range(100):
        book.leave(enter(book, 1, start=start), 0.0)
    assert enter(book, 2, start=True).granted
    assert len(first.sequence.turns) <= 2


def test_an_end_ends_the_sequence_whatever_becomes_of_its_request() -> None:
    book, counts = sequences()
    book.leave(enter(book, 1, start=True), 0.0, "one")
    book.leave(enter(book, 1, end=True), 0.0)
    assert (len(book), counts.ended, book.holds(1)) == (0, 1, False)


def test_the_id_is_free_again_as_soon_as_the_end_is_in_line() -> None:
    book, _ = sequences()
    ending = enter(book, 1, start=True, end=True)
    with pytest.raises(BadInput, match="START"):
        enter(book, 1)
    fresh = enter(book, 1, start=True)
    assert fresh.sequence is not ending.sequence
    book.leave(ending, 0.0, "done")
    assert book.holds(1), "the end of the old one is none of the new one's"
    assert enter(book, 1).sequence is fresh.sequence


def test_a_start_in_the_middle_ends_one_sequence_and_begins_another() -> None:
    book, counts = sequences()
    book.leave(enter(book, 1, start=True), 0.0, "old")
    assert enter(book, 1, start=True).sequence.state is None
    assert (len(book), counts.started, counts.ended) == (1, 2, 1)


def test_a_sequence_that_never_got_a_place_is_given_up_with_its_last_request() -> None:
    book, _ = sequences(places=1)
    enter(book, 1, start=True)
    waiting = enter(book, 2, start=True)
    book.leave(waiting, 0.0)
    assert (len(book), book.holds(2)) == (1, False)


def test_everything_that_waits_is_bounded() -> None:
    book, _ = sequences(places=1, waiting=1, steps=3)
    enter(book, 1, start=True)
    enter(book, 2, start=True)
    with pytest.raises(Rejected, match="1 open sequences and 1 that wait"):
        enter(book, 3, start=True)
    enter(book, 1)
    with pytest.raises(Rejected, match="3 requests of sequences"):
        enter(book, 1)
    assert (book.holds(3), len(book)) == (False, 2)


def test_only_what_is_idle_is_forgotten_and_at_its_time() -> None:
    book, counts = sequences()
    busy = enter(book, 1, start=True)
    assert book.next_expiry_s == math.inf
    book.leave(enter(book, 2, start=True), 5.0, "two")
    assert book.next_expiry_s == 15.0
    book.expire(14.9)
    assert book.holds(2)
    book.expire(15.0)
    assert (book.holds(1), book.holds(2), counts.expired) == (True, False, 1)
    book.leave(busy, 16.0, "one")
    assert book.next_expiry_s == 26.0


def test_closed_begins_nothing_and_goes_on_with_what_is_open() -> None:
    book, _ = sequences()
    book.leave(enter(book, 1, start=True), 0.0, "one")
    book.close()
    with pytest.raises(Draining):
        enter(book, 2, start=True)
    assert enter(book, 1).granted


def test_ended_for_good_still_answers_what_waits() -> None:
    book, counts = sequences(places=1)
    running, queued = enter(book, 1, start=True), enter(book, 1)
    waiting = enter(book, 2, start=True)
    book.end_all()
    assert not book.holds(1)
    book.leave(running, 0.0, "one")
    assert queued.granted
    book.leave(queued, 0.0, "two")
    assert waiting.granted
    book.leave(waiting, 0.0, "one")
    assert (len(book), counts.started, counts.ended) == (0, 2, 2)


class SequencesMachine(RuleBasedStateMachine):
    """Anyone may ask, be answered, fail or leave at any time; states are the numbers of answered requests."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = SequenceCounts()
        self.book = Sequences("m", LIMITS, self.counts)
        self.now_s = 0.0
        self.turns: list[Turn] = []
        self.wakes: list[tuple[Turn, list[None]]] = []

    @rule(sequence_id=st.integers(1, 4), start=st.booleans(), end=st.booleans())
    def ask(self, sequence_id: int, start: bool, end: bool) -> None:
        was_open = self.book.holds(sequence_id)
        woken: list[None] = []
        try:
            turn = self.book.enter(SequenceStep(sequence_id, start, end), lambda: woken.append(None))
        except BadInput:
            assert not was_open
            assert not start
        except Rejected:
            assert len(self.turns) >= LIMITS.steps or len(self.book) >= LIMITS.places + LIMITS.waiting
        else:
            assert start or was_open
            assert self.book.holds(sequence_id) is not end
            self.turns.append(turn)
            self.wakes.append((turn, woken))

    @precondition(lambda self: self.turns)
    @rule(data=st.data(), answered=st.booleans())
    def end_a_turn(self, data: st.DataObject, answered: bool) -> None:
        turn = data.draw(st.sampled_from(self.turns))
        self.turns.remove(turn)
        before = turn.sequence.state
        self.book.leave(turn, self.now_s, (before or 0) + 1 if answered and turn.granted else None)

    @rule(passed_s=st.sampled_from([1.0, 9.0, 11.0]))
    def wait(self, passed_s: float) -> None:
        self.now_s += passed_s
        self.book.expire(self.now_s)

    @invariant()
    def no_two_of_a_sequence_run_and_no_more_than_there_are_places(self) -> None:
        running = [turn for turn in self.turns if turn.granted]
        assert len({id(turn.sequence) for turn in running}) == len(running) <= LIMITS.places

    @invariant()
    def whoever_is_first_and_has_a_place_runs(self) -> None:
        for turn in self.turns:
            first = turn.sequence.turns[0]
            assert not first.gone
            assert first.granted is turn.sequence.placed

    @invariant()
    def no_place_is_free_while_a_sequence_waits(self) -> None:
        placed = {id(turn.sequence) for turn in self.turns if turn.sequence.placed}
        waiting = {id(turn.sequence) for turn in self.turns if not turn.sequence.placed}
        assert len(self.book) <= LIMITS.places + LIMITS.waiting
        assert not waiting or len(placed) <= LIMITS.places <= len(self.book) - len(waiting)

    @invariant()
    def who_may_run_was_woken_once(self) -> None:
        assert all(len(woken) == turn.granted for turn, woken in self.wakes)

    @invariant()
    def those_that_left_are_no_more_than_those_that_wait(self) -> None:
        for sequence in {turn.sequence for turn in self.turns}:
            gone = sum(turn.gone for turn in sequence.turns)
            assert gone <= len(sequence.turns) - gone

    @invariant()
    def every_sequence_is_counted_once(self) -> None:
        assert self.counts.started == self.counts.ended + self.counts.expired + len(self.book)

    def teardown(self) -> None:
        for turn in list(self.turns):
            self.book.leave(turn, self.now_s)
        self.book.end_all()
        assert len(self.book) == 0
        assert self.book.next_expiry_s == math.inf


TestSequencesMachine = SequencesMachine.TestCase
TestSequencesMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
