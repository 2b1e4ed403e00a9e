"""A name is hidden however its head is cut into reads, and nothing else is touched."""

from __future__ import annotations

import pytest

from service.gateway.http.offers import Offers

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nUpGrade: h2c\r\nUpgrade: b\r\nContent-Length: 12\r\n\r\n"
BODY = b"\r\nUpgrade: a"
HIDDEN = HEAD.replace(b"rade:", b"rade-offer:")


def read(*pieces: bytes) -> bytes:
    """What the parser gets of a message whose head comes in `pieces`; what follows the head is its body."""
    offers, got, ended = Offers(), b"", False
    offers.begin()
    for piece in pieces:
        got += piece if ended else offers.hidden(piece)
        ended = b"\r\n\r\n" in got.lstrip()
    return got


def test_a_whole_head() -> None:
    assert read(HEAD + BODY) == HIDDEN + BODY


@pytest.mark.parametrize("at", range(1, len(HEAD)))
def test_a_head_in_two_reads_wherever_it_is_cut(at: int) -> None:
    assert read(HEAD[:at], HEAD[at:] + BODY) == HIDDEN + BODY


def test_a_head_byte_by_byte() -> None:
    assert read(*(HEAD[at : at + 1] for at in range(len(HEAD))), BODY) == HIDDEN + BODY


def test_empty_lines_before_a_head_are_none() -> None:
    assert read(b"\r\n\r\n" + HEAD + BODY) == b"\r\n\r\n" + HIDDEN + BODY


@pytest.mark.parametrize("field", [b"X-Upgrade: a", b"Upgraded: a", b"A: Upgrade: b", b"Connection: Upgrade"])
def test_other_fields_are_left_alone(field: bytes) -> None:
    head = b"GET / HTTP/1.1\r\n" + field + b"\r\n\r\n"
    assert read(head) == head


@pytest.mark.parametrize("at", range(1, len(HEAD)))
def test_a_head_that_began_behind_a_body_and_goes_on(at: int) -> None:
    """What of it came with the body is not seen; the rest is, and the body behind it is left alone."""
    offers = Offers()
    offers.passed(b"the end of a body" + HEAD[:at])
    rest = offers.hidden(HEAD[at:] + BODY)
    assert rest.endswith(b"Content-Length: 12\r\n\r\n"[-(len(HEAD) - at) :] + BODY)
    assert rest.count(b"-offer:") == HEAD[at - 1 :].lower().count(b"e:")


def test_the_end_of_one_message_is_no_part_of_the_next() -> None:
    offers = Offers()
    offers.hidden(b"GET / HTTP/1.1\r\nA: \nupgrade")
    assert offers.hidden(b": b") == b"-offer: b"
    offers.hidden(b"GET / HTTP/1.1\r\nA: \nupgrade")
    offers.begin()
    assert offers.hidden(b": b") == b": b"
