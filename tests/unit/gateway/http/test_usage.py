from __future__ import annotations

import pytest

from service.gateway.http.limits import Limits
from service.gateway.http.usage import Usage

LIMITS = Limits(head_bytes=20, head_fields=2, window_bytes=5, framing_bytes=10)
FIELD = (b"a", b"b")


@pytest.fixture
def usage() -> Usage:
    usage = Usage(LIMITS)
    usage.begin()
    return usage


def test_a_head_that_goes_on_is_over_with_one_byte_too_many(usage: Usage) -> None:
    assert [usage.is_head_over(10, 0), usage.is_head_over(10, 0), usage.is_head_over(1, 0)] == [False, False, True]
    usage.begin()
    assert not usage.is_head_over(20, 2)


def test_a_head_that_goes_on_is_over_with_one_field_too_many(usage: Usage) -> None:
    assert not usage.is_head_over(1, 2)
    assert usage.is_head_over(1, 3)


@pytest.mark.parametrize(("fields", "over"), [(2, False), (3, True)])
def test_a_head_that_ended_may_have_so_many_fields(usage: Usage, fields: int, over: bool) -> None:
    assert usage.was_head_over(b"/", [FIELD] * fields) is over


@pytest.mark.parametrize(
    ("read_bytes", "url", "over"), [(20, b"/" * 15, False), (21, b"/" * 14, False), (21, b"/" * 15, True)]
)
def test_a_head_that_ended_is_measured_where_its_reads_were_over(
    usage: Usage, read_bytes: int, url: bytes, over: bool
) -> None:
    """A body may be in the same read: then the head counts by itself, with 4 bytes around each field."""
    usage.read_bytes = read_bytes
    assert usage.was_head_over(url, [FIELD]) is over


def test_framing_may_be_as_much_as_the_data_and_something_more(usage: Usage) -> None:
    usage.begin_body()
    usage.body_bytes = 10
    assert not usage.is_framing_over(30)
    assert usage.is_framing_over(1)
    usage.begin_body()
    assert not usage.is_framing_over(10)


def test_a_window_is_slow_by_what_came_in_it_alone(usage: Usage) -> None:
    usage.begin_body()
    usage.is_framing_over(5)
    assert not usage.is_slow
    usage.begin_window()
    assert usage.is_slow
    usage.is_framing_over(4)
    assert usage.is_slow
