"""Which level a request belongs to and how long it may wait there, as Triton has it."""

from __future__ import annotations

import math

import pytest

from service.batching.contract import BatchConfig, WaitPolicy
from service.batching.levels import Levels, limit_s


@pytest.mark.parametrize(
    ("levels", "default", "priority", "level"),
    [
        (0, 0, 0, 0),
        (0, 0, 7, 0),  # without levels priorities are ignored
        (3, 0, 1, 1),
        (3, 0, 3, 3),
        (3, 0, 0, 2),  # none given: the default level, the middle one where none is named
        (4, 0, 0, 2),
        (3, 3, 0, 3),
        (3, 3, 4, 3),  # more than there are: the default level too
        (3, 1, (1 << 64) - 1, 1),
    ],
)
def test_a_priority_is_a_level_or_the_default_one(levels: int, default: int, priority: int, level: int) -> None:
    assert Levels(BatchConfig(levels=levels, default_level=default)).of(priority) == level


def test_the_servers_own_question_is_served_first() -> None:
    assert Levels(BatchConfig(levels=3)).of(0, quiet=True) == 1
    assert Levels(BatchConfig()).of(0, quiet=True) == 0


def test_a_level_without_a_policy_of_its_own_has_the_default_one() -> None:
    usual, own = WaitPolicy(max_queue=5), WaitPolicy(max_queue=1)
    assert Levels(BatchConfig(levels=3, waiting=usual, level_waiting={2: own})).policies[1:] == [usual, own, usual]
    assert Levels(BatchConfig(waiting=usual)).policies == [usual]


@pytest.mark.parametrize(
    ("default_s", "allows", "asked_s", "limit"),
    [
        (None, True, None, math.inf),
        (2.0, True, None, 2.0),
        (2.0, True, 0.5, 0.5),
        (2.0, True, 9.0, 2.0),  # a request may shorten the default, never lengthen it
        (2.0, False, 0.5, 2.0),
        (None, True, 0.5, 0.5),  # any time is shorter than for ever
        (None, False, 0.5, math.inf),
    ],
)
def test_how_long_a_request_may_wait(
    default_s: float | None, allows: bool, asked_s: float | None, limit: float
) -> None:
    assert limit_s(WaitPolicy(default_timeout_s=default_s, allows_timeout=allows), asked_s) == limit
