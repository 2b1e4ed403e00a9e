"""When a queue stands: never while bursts drain, always when waits stay long; as tables and as simulated hours."""

from __future__ import annotations

import pytest

from service.batching.policy import WaitLimits
from service.batching.standing import Standing

LIMITS = WaitLimits(target_s=0.1, burst_s=0.5, stands_after_s=1.0)


def after(waits: list[tuple[float, float]]) -> Standing:
    """A level in which runs began at these times, whose youngest had waited so long."""
    standing = Standing()
    for now_s, wait_s in waits:
        standing.waited(wait_s, LIMITS, now_s)
    return standing


@pytest.mark.parametrize(
    ("waits", "stands"),
    [
        ([], False),
        ([(0.0, 0.05), (9.0, 0.1)], False),
        ([(0.0, 5.0)], False),
        ([(0.0, 5.0), (0.9, 4.0)], False),
        ([(0.0, 0.2), (1.0, 0.2)], True),
        ([(0.0, 0.2), (0.9, 0.1), (1.0, 0.2), (1.9, 0.2)], False),
        ([(0.0, 0.2), (0.9, 0.1), (1.0, 0.2), (2.0, 0.2)], True),
        ([(0.0, 0.2), (1.0, 0.2), (1.1, 0.01)], True),
    ],
    ids=[
        "nobody has waited",
        "nobody has waited longer than the target",
        "one long wait is a burst",
        "long waits for less than an interval are a burst that drains",
        "all waits of an interval were long",
        "one short wait begins the interval anew",
        "which may end like another",
        "a short wait after that is owed to the newcomers that are refused",
    ],
)
def test_it_stands_once_all_waits_of_an_interval_were_long(waits: list[tuple[float, float]], stands: bool) -> None:
    assert after(waits).allowed_s(LIMITS) == (LIMITS.target_s if stands else LIMITS.burst_s)


def test_it_stands_until_an_engine_is_idle() -> None:
    standing = after([(0.0, 0.2), (1.0, 0.2)])
    standing.idle()
    assert standing.allowed_s(LIMITS) == LIMITS.burst_s
    standing.waited(0.2, LIMITS, 1.1)
    standing.waited(0.2, LIMITS, 2.0)
    assert standing.allowed_s(LIMITS) == LIMITS.burst_s, "the interval begins anew too"


def test_a_short_wait_begins_the_interval_anew_and_ends_nothing() -> None:
    standing = after([(0.0, 0.5), (0.9, 0.5)])
    standing.short()
    standing.waited(0.5, LIMITS, 1.5)
    assert standing.allowed_s(LIMITS) == LIMITS.burst_s
    stands = after([(0.0, 0.5), (2.0, 0.5)])
    stands.short()
    assert stands.allowed_s(LIMITS) == LIMITS.target_s


def test_limits_without_end_never_let_it_stand() -> None:
    endless = WaitLimits(float("inf"), float("inf"), float("inf"))
    standing = Standing()
    for now_s in range(100):
        standing.waited(1e9, endless, float(now_s))
    assert standing.allowed_s(endless) == float("inf")
