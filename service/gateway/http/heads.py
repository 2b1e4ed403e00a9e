"""Heads of small inference requests, each read once: clients send the same bytes with every request.

A head is known by all of its bytes, and was read by the parser that reads every other. What a request needs that is
more than its head and so many bytes (a body in chunks, a word before it is sent, another protocol, an end of the
connection) is not known here. Knows nothing of bodies.
"""

from __future__ import annotations

import re
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import httptools

from service.core.contract import ModelRef
from service.core.errors import BadInput
from service.gateway.http.hosts import names_hosts
from service.gateway.http.request_head import HEAD, REF, read_head
from service.gateway.recent import KEPT, Recent

Scope = dict[str, Any]

BEGINNING = b"POST /v2/models/"
# In which nothing is quoted.
_PATH = re.compile(r"/v2/models/(?P<model>[A-Za-z0-9._-]+)(?:/versions/(?P<version>[A-Za-z0-9._-]+))?/infer")
_END = b"\r\n\r\n"
KNOWN_BYTES = 2048  # of a head; longer ones are rare
_LENGTH_DIGITS = 9
# Which the connection would have to act upon.
_MORE = frozenset({b"expect", b"transfer-encoding", b"upgrade"})


class Head(NamedTuple):
    """A head that was read.

    Attributes:
        scope: what ASGI says of the request, but for its connection; to be copied, and its headers left alone.
        body_bytes: of the body that follows.
    """

    scope: Scope
    body_bytes: int


_STRANGE = Head({}, -1)  # stands for those that are not for here


class Heads:
    """The heads that were read lately.

    Args:
        limit_bytes: longer ones are not known.
        fields: those with more fields are not known.
        kept: how many are remembered at least, of short ones.
    """

    def __init__(self, limit_bytes: int = KNOWN_BYTES, fields: int = 64, kept: int = KEPT) -> None:
        self._limit_bytes = limit_bytes
        self._fields = fields
        self._known: Recent[Head] = Recent(kept)

    def read(self, head: bytes) -> Head | None:
        """What `head` says, which ends before its empty line; None where it is not for here."""
        known = self._known.get(head)
        if known is None:
            if len(head) > self._limit_bytes:
                return None
            known = self._parsed(head) or _STRANGE
            self._known.put(head, known)
        return known if known is not _STRANGE else None

    def _parsed(self, head: bytes) -> Head | None:
        reader = _Reader()
        parser = reader.parser = httptools.HttpRequestParser(reader)
        try:
            parser.feed_data(head + _END)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        path = _PATH.fullmatch(reader.url.decode("latin-1"))
        if path is None or not reader.complete or len(reader.headers) > self._fields or names_hosts(reader.headers):
            return None
        return _head_of(path, reader.headers)


class _Reader:
    """What the parser calls back."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False  # the head ended where it should, and asks for nothing special

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        plain = parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
        self.complete = plain and parser.should_keep_alive()

    def on_body(self, _body: bytes) -> None:
        self.complete = False


def _head_of(path: re.Match[str], headers: list[tuple[bytes, bytes]]) -> Head | None:
    named = dict(headers)
    length = named.get(b"content-length", b"")
    if not length.isdigit() or len(length) > _LENGTH_DIGITS or not _MORE.isdisjoint(named):
        return None
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": path[0],
        "raw_path": path[0].encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        REF: ModelRef(path["model"], path["version"]),
    }
    with suppress(BadInput):  # which its handler says, who reads it again
        scope[HEAD] = read_head(MappingProxyType(named))
    return Head(scope, int(length))
