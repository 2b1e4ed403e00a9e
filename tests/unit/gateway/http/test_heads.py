"""A head is known only if the parser would read it as one small plain inference request with a body of known length."""

from __future__ import annotations

from typing import Any

import pytest

from service.core.contract import ModelRef
from service.gateway.http import heads
from service.gateway.http.heads import Heads
from service.gateway.http.request_head import HEAD, REF, headers_of


def head(*fields: bytes, line: bytes = b"POST /v2/models/m/infer HTTP/1.1", length: bytes = b"3") -> bytes:
    return b"\r\n".join([line, b"Host: x", *([b"Content-Length: " + length] if length else []), *fields])


def test_a_known_head_says_what_the_parser_read() -> None:
    known = Heads().read(head(b"X-Request-Id: a", b"Content-Type: application/json"))
    assert known is not None
    assert known.body_bytes == 3
    assert (known.scope["method"], known.scope["path"]) == ("POST", "/v2/models/m/infer")
    assert known.scope[REF] == ModelRef("m")
    assert known.scope["headers"][2:] == [(b"x-request-id", b"a"), (b"content-type", b"application/json")]
    assert headers_of(known.scope) is known.scope[HEAD].headers
    assert dict(known.scope["headers"]) == known.scope[HEAD].headers


def test_the_version_is_part_of_the_path() -> None:
    known = Heads().read(head(line=b"POST /v2/models/m-1/versions/1-int8/infer HTTP/1.1"))
    assert known is not None
    assert known.scope[REF] == ModelRef("m-1", "1-int8")


@pytest.mark.parametrize("connection", [b"keep-alive", b"Keep-Alive", b"te"])
def test_a_word_about_the_connection_that_changes_nothing_is_nothing_special(connection: bytes) -> None:
    assert Heads().read(head(b"Connection: " + connection)) is not None


STRANGE = {
    "no length": head(length=b""),
    "a negative length": head(length=b"-1"),
    "a sum": head(length=b"+3"),
    "a fraction": head(length=b"3.0"),
    "a list of lengths": head(length=b"3, 3"),
    "two lengths": head(b"Content-Length: 4"),
    "the same length twice": head(b"Content-Length: 3"),
    "a huge length": head(length=b"9" * 30),
    "a large length": head(length=b"1" * 10),
    "chunks": head(b"Transfer-Encoding: chunked", length=b""),
    "chunks and a length": head(b"Transfer-Encoding: chunked"),
    "an expectation": head(b"Expect: 100-continue"),
    "another protocol": head(b"Upgrade: h2c", b"Connection: Upgrade"),
    "the end of the connection": head(b"Connection: close"),
    "an older version": head(line=b"POST /v2/models/m/infer HTTP/1.0"),
    "an older version that goes on": head(b"Connection: keep-alive", line=b"POST /v2/models/m/infer HTTP/1.0"),
    "another method": head(line=b"PUT /v2/models/m/infer HTTP/1.1"),
    "a query": head(line=b"POST /v2/models/m/infer?a HTTP/1.1"),
    "a quoted name": head(line=b"POST /v2/models/%6d/infer HTTP/1.1"),
    "another path": head(line=b"POST /v2/models/m/load HTTP/1.1"),
    "a path that goes on": head(line=b"POST /v2/models/m/infer/ HTTP/1.1"),
    "a whole address": head(line=b"POST http://x/v2/models/m/infer HTTP/1.1"),
    "a line that ends early": head(b"A: b\nC: d"),
    "a folded field": head(b"A: b", b" c"),
    "a space before the colon": head(b"A : b"),
    "no colon": head(b"nonsense"),
    "a control character": head(b"A: \x01\x00"),
    "an end in its midst": head().replace(b"\r\n", b"\n") + b"\n\nABC",
    "another request in its midst": head(length=b"0") + b"\n\nPOST /v2/models/m/infer HTTP/1.1",
    "many fields": head(*(b"A%d: b" % number for number in range(100))),
    "a long field": head(b"A: " + b"b" * 4000),
    "nothing": b"",
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_any_other_head_is_left_to_the_connection(strange: bytes) -> None:
    assert Heads().read(strange) is None


def test_a_head_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    real = heads.httptools.HttpRequestParser

    class Parser:
        def __init__(self, reader: Any) -> None:
            self._real = real(reader)

        def feed_data(self, data: bytes) -> None:
            parsed.append(data)
            self._real.feed_data(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    monkeypatch.setattr(heads.httptools, "HttpRequestParser", Parser)
    known = Heads(kept=2)
    first = known.read(head())
    assert known.read(head()) is first
    assert known.read(STRANGE["a query"]) is None is known.read(STRANGE["a query"])
    assert len(parsed) == 2
    for length in (b"4", b"5", b"6"):  # which crowd it out
        assert known.read(head(length=length)) is not None
    assert known.read(head()) == first
    assert len(parsed) == 6


def test_what_is_remembered_is_bounded() -> None:
    known = Heads(kept=10)
    for number in range(100):
        known.read(head(b"X-Request-Id: %d" % number))
    assert 0 < len(known._known) <= 20
