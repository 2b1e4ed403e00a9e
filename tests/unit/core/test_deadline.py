"""Deadlines are points in monotonic time; the sooner one wins."""

import math

import pytest

from service.core.deadline import Deadline


@pytest.mark.parametrize(("now_s", "passed"), [(9.9, False), (10.0, True), (10.1, True)])
def test_a_deadline_passes_at_its_instant(now_s: float, passed: bool) -> None:
    deadline = Deadline.after(7.0, 3.0)
    assert deadline.passed(now_s) is passed
    assert deadline.left_s(now_s) == pytest.approx(10.0 - now_s)


def test_never_is_infinitely_far_away() -> None:
    assert Deadline.never().left_s(1e12) == math.inf
    assert not Deadline.never().passed(1e12)


def test_the_sooner_of_two_wins_from_either_side() -> None:
    early, late = Deadline(1.0), Deadline(2.0)
    assert early.sooner(late) is early
    assert late.sooner(early) is early
    assert Deadline.never().sooner(late) is late
