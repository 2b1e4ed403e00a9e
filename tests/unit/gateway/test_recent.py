"""What is asked for stays, what is not goes, and neither takes more than its room."""

from __future__ import annotations

from service.gateway.recent import Recent


def key(number: int) -> bytes:
    return b"%d" % number


def test_what_was_learnt_is_found_and_nothing_else() -> None:
    recent: Recent[int] = Recent()
    assert recent.get(b"a") is None
    recent.put(b"a", 0)
    assert recent.get(b"a") == 0
    recent.put(b"a", 1)
    assert (recent.get(b"a"), len(recent)) == (1, 1)


def test_it_never_takes_more_than_twice_its_room() -> None:
    recent: Recent[int] = Recent(10)
    for number in range(1000):
        recent.put(key(number), number)
        assert len(recent) <= 20
    assert len(recent) > 10
    assert all(recent.get(key(number)) == number for number in range(990, 1000))


def test_nor_more_than_twice_the_bytes_that_it_may_be_asked_by() -> None:
    recent: Recent[int] = Recent(1000, 100)
    for number in range(1000):
        recent.put(key(number).rjust(30), number)
        assert len(recent) <= 6
    assert [recent.get(key(number).rjust(30)) for number in (997, 998, 999)] == [997, 998, 999]


def test_what_is_asked_for_is_not_crowded_out_by_what_never_comes_again() -> None:
    recent: Recent[int] = Recent(10)
    recent.put(b"always", -1)
    for number in range(1000):
        recent.put(key(number), number)
        if number % 5 == 0:
            assert recent.get(b"always") == -1


def test_control_what_is_not_asked_for_is_forgotten() -> None:
    recent: Recent[int] = Recent(10)
    recent.put(b"once", -1)
    for number in range(20):
        recent.put(key(number), number)
    assert recent.get(b"once") is None


def test_the_requests_of_two_hundred_models_in_turn_are_all_known() -> None:
    """Each model's of three lengths, as numbers are written."""
    recent: Recent[int] = Recent()
    missed = [0, 0, 0]
    for time in range(3):
        for number in range(600):
            if recent.get(key(number)) is None:
                missed[time] += 1
                recent.put(key(number), number)
    assert missed == [600, 0, 0]
