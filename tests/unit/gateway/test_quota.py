"""The token bucket, by tables; no clock is asked."""

from __future__ import annotations

import random

import pytest

from service.gateway.quota import Bucket, Quota, full, take


def run(quota: Quota, times_s: list[float]) -> list[int]:
    """What each request is told: 0 for yes, else the seconds to wait."""
    bucket, told = full(quota, times_s[0]), []
    for now_s in times_s:
        bucket, wait_s = take(quota, bucket, now_s)
        told.append(wait_s)
    return told


@pytest.mark.parametrize(
    ("quota", "times_s", "told"),
    [
        (Quota(1, 1), [0, 0, 0.5, 1], [0, 1, 1, 0]),
        (Quota(1, 3), [0, 0, 0, 0], [0, 0, 0, 1]),
        (Quota(1, 3), [0, 0, 0, 100, 100, 100, 100], [0, 0, 0, 0, 0, 0, 1]),  # a pause fills it, and no further
        (Quota(10, 1), [0, 0.05, 0.1, 0.2], [0, 1, 0, 0]),
        (Quota(0.1, 1), [0, 0, 5, 9.9, 10], [0, 10, 5, 1, 0]),
        (Quota(0.001, 1), [0, 1], [0, 999]),
        (Quota(1, 1), [5, 4, 6], [0, 1, 0]),  # a time before the last one fills nothing
        (Quota(2.5, 2), [0, 0, 0.3, 0.4], [0, 0, 1, 0]),
    ],
)
def test_the_table(quota: Quota, times_s: list[float], told: list[int]) -> None:
    assert run(quota, times_s) == told


@pytest.mark.parametrize("seed", range(20))
def test_no_span_sees_more_than_the_burst_and_what_came_in_meanwhile(seed: int) -> None:
    draw = random.Random(seed)
    quota = Quota(draw.choice([0.5, 3, 50]), draw.randint(1, 20))
    times_s = [0.0]
    for _ in range(2000):
        times_s.append(times_s[-1] + draw.expovariate(quota.per_s * 3))
    taken = [now_s for now_s, wait_s in zip(times_s, run(quota, times_s), strict=True) if not wait_s]
    for first in range(0, len(taken), 7):
        for last in range(first, len(taken), 11):
            allowed = quota.burst + (taken[last] - taken[first]) * quota.per_s
            assert last - first + 1 <= allowed + 1e-6
    assert len(taken) >= times_s[-1] * quota.per_s * 0.6, "and what is allowed is given"


def test_who_comes_back_after_the_time_that_was_told_is_let_in() -> None:
    quota, bucket = Quota(0.3, 1), Bucket(0, 7)
    for _ in range(5):
        bucket, wait_s = take(quota, bucket, 7)
        assert wait_s >= 1
        bucket, again = take(quota, bucket, 7 + wait_s)
        assert again == 0
        bucket = Bucket(0, 7)
