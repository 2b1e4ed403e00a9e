from __future__ import annotations

import httptools
import pytest

from service.core.errors import BadInput, Unavailable
from service.gateway.http.refusal import parser_error, refusal


def test_a_refusal_is_a_whole_answer_with_a_problem() -> None:
    assert refusal(503, "no room", {"Retry-After": "1"}) == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 19\r\n"
        b'Connection: close\r\nRetry-After: 1\r\n\r\n{"error":"no room"}'
    )


def test_nothing_that_a_sentence_holds_gets_into_the_head() -> None:
    head, _, body = refusal(400, "a\r\nb: c").partition(b"\r\n\r\n")
    assert b"b: c" not in head
    assert body == b'{"error":"a\\\\r\\\\nb: c"}'


class Full:
    """Has no memory for a body."""

    def on_body(self, _body: bytes) -> None:
        raise MemoryError


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", Unavailable),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", BadInput),
    ],
)
def test_what_there_is_no_memory_for_is_not_called_wrong(octets: bytes, kind: type[Exception]) -> None:
    try:
        httptools.HttpRequestParser(Full()).feed_data(octets)
    except httptools.HttpParserError:
        assert type(parser_error()) is kind
    else:
        pytest.fail("the parser took it")
