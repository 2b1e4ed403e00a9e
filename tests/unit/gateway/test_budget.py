from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import Rejected, TooLarge
from service.gateway.budget import SMALL_BYTES, ByteBudget, Share

MIB = 1 << 20


def test_what_is_taken_is_given_back_once() -> None:
    budget = ByteBudget(10)
    share = Share(budget)
    share.take(4)
    share.take(6)
    assert budget.used_bytes == 10
    share.end()
    share.end()
    assert budget.used_bytes == 0


def test_beyond_the_limit_nothing_more_is_taken_and_one_sentence_says_so() -> None:
    budget = ByteBudget(8 * MIB)
    one, other = Share(budget), Share(budget)
    one.take(6 * MIB)
    with pytest.raises(Rejected, match=r"^requests and answers in flight hold all of their 8 MiB$") as refused:
        other.take(MIB + 1)
    assert refused.value.retry_after_s == 1
    other.take(MIB)
    one.end()
    assert budget.used_bytes == MIB


def test_the_last_eighth_is_for_small_requests() -> None:
    budget = ByteBudget(8 * MIB)
    large, small = Share(budget), [Share(budget) for _ in range(5)]
    large.take(7 * MIB)
    with pytest.raises(Rejected):
        Share(budget).take(SMALL_BYTES + 1)
    for share in small[:4]:
        share.take(SMALL_BYTES)
    assert budget.used_bytes == budget.limit_bytes
    with pytest.raises(Rejected):
        small[4].take(1)
    small[0].end()
    small[4].take(SMALL_BYTES)
    with pytest.raises(Rejected):
        small[4].take(1)  # it is no small one any more


def test_what_can_never_fit_is_told_so_and_not_to_try_again() -> None:
    budget = ByteBudget(8 * MIB)
    sentence = (
        r"^the request, with its answer, takes 7340033 bytes or more, "
        r"and RETORT_MAX_IN_FLIGHT_BYTES has room for 7340032 of one request$"
    )
    share = Share(budget)
    for refusing in (share.check, share.take):
        with pytest.raises(TooLarge, match=sentence):
            refusing(7 * MIB + 1)
    share.take(7 * MIB)
    with pytest.raises(TooLarge, match=sentence):
        share.take(1)
    with pytest.raises(Rejected):  # it fits, once that one is gone
        Share(budget).take(7 * MIB)
    with pytest.raises(TooLarge, match="takes 9 bytes or more"):
        Share(ByteBudget(8)).take(9)


def test_nothing_fits_always() -> None:
    budget = ByteBudget(1)
    Share(budget).take(1)
    Share(budget).take(0)
    assert budget.used_bytes == 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60), st.booleans())))
def test_the_sum_of_shares_is_what_is_used_and_never_over_the_limit(steps: list[tuple[int, int, bool]]) -> None:
    budget = ByteBudget(100)
    shares, held = [Share(budget) for _ in range(5)], [0] * 5
    for who, size_bytes, ends in steps:
        if ends:
            shares[who].end()
            held[who] = 0
            continue
        fits = sum(held) + size_bytes <= 100
        try:
            shares[who].take(size_bytes)
            assert fits
            held[who] += size_bytes
        except (Rejected, TooLarge):
            assert not fits
        assert budget.used_bytes == sum(held)
