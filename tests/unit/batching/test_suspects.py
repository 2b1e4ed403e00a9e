"""Who keeps failing is run alone, for a while, and the memory of it is bounded."""

from __future__ import annotations

from service.batching.suspects import Suspects


def test_three_failures_make_a_suspect_and_two_do_not() -> None:
    suspects = Suspects()
    for n in range(1, 4):
        suspects.strike("a", now_s=float(n) / 100)
        assert suspects.suspected("a", n / 100) == (n == 3)


def test_others_are_not_suspected() -> None:
    suspects = Suspects()
    for _ in range(5):
        suspects.strike("a", 0.0)
    assert not suspects.suspected("b", 0.0)


def test_an_origin_that_is_not_known_is_nobody() -> None:
    suspects = Suspects()
    for _ in range(5):
        suspects.strike("", 0.0)
    assert not suspects.suspected("", 0.0)
    assert len(suspects) == 0


def test_a_suspect_who_mends_is_trusted_again() -> None:
    suspects = Suspects(half_life_s=10.0)
    for _ in range(100):
        suspects.strike("a", 0.0)
    assert suspects.suspected("a", 19.0)
    assert not suspects.suspected("a", 21.0)


def test_a_suspect_who_goes_on_stays_one() -> None:
    suspects = Suspects(half_life_s=10.0)
    for second in range(200):
        suspects.strike("a", float(second))
        assert suspects.suspected("a", float(second)) or second < 3


def test_rare_failures_never_make_a_suspect() -> None:
    suspects = Suspects(half_life_s=10.0)
    for n in range(50):
        suspects.strike("a", n * 30.0)
        assert not suspects.suspected("a", n * 30.0)


def test_who_has_not_failed_for_long_is_forgotten() -> None:
    suspects = Suspects(half_life_s=1.0)
    suspects.strike("a", 0.0)
    assert not suspects.suspected("a", 100.0)
    assert len(suspects) == 0


def test_memory_is_bounded_and_the_one_that_failed_longest_ago_goes_first() -> None:
    suspects = Suspects(limit=3)
    for _ in range(3):
        for origin in ("a", "b"):
            suspects.strike(origin, 0.0)
    suspects.strike("c", 1.0)
    suspects.strike("a", 2.0)
    suspects.strike("d", 3.0)
    assert len(suspects) == 3
    assert suspects.suspected("a", 3.0)
    assert not suspects.suspected("b", 3.0)


def test_a_proxy_with_one_bad_client_in_a_hundred_is_no_suspect() -> None:
    suspects = Suspects()
    for n in range(1000):
        suspects.strike("proxy", n / 100)
        for _ in range(99):
            suspects.absolve("proxy", n / 100)
        assert not suspects.suspected("proxy", n / 100)


def test_one_good_request_for_each_bad_one_absolves_nobody() -> None:
    suspects = Suspects()
    for n in range(100):
        suspects.strike("a", n / 100)
        suspects.absolve("a", n / 100)
        assert suspects.suspected("a", n / 100) or n < 3


def test_a_good_request_of_one_who_never_failed_is_not_remembered() -> None:
    suspects = Suspects()
    suspects.absolve("a", 0.0)
    assert len(suspects) == 0
