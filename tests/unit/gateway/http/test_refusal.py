from __future__ import annotations

from service.gateway.http.refusal import refusal


def test_a_refusal_is_a_whole_answer_with_a_problem() -> None:
    assert refusal(503, "no room", {"Retry-After": "1"}) == (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 19\r\n"
        b'Connection: close\r\nRetry-After: 1\r\n\r\n{"error":"no room"}'
    )


def test_nothing_that_a_sentence_holds_gets_into_the_head() -> None:
    head, _, body = refusal(400, "a\r\nb: c").partition(b"\r\n\r\n")
    assert b"b: c" not in head
    assert body == b'{"error":"a\\\\r\\\\nb: c"}'
