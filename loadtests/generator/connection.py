"""One HTTP/1.1 connection that carries one request at a time, as cheaply as Python can."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httptools

from loadtests.generator.block import Answer

_JSON_LENGTH = b"inference-header-content-length"
_LENGTHS = (b"content-length", b"transfer-encoding")
_FIRST_FINAL = 200  # statuses below announce the answer that follows


class Owner(Protocol):
    """Whoever is told what comes of the requests."""

    def answered(self, connection: Connection, request: int, status: int, answer: Answer) -> None:
        """The answer to `request` is whole; the connection is free again if it is `usable`."""

    def lost(self, connection: Connection, request: int | None) -> None:
        """The connection ended; `request` was waiting for its answer, or none was."""


class Connection(asyncio.Protocol):
    """A connection; `usable` until the server closes it, or says what nobody asked for."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._request: int | None = None
        self._begin()
        self.usable = True

    def send(self, request: int, data: bytes) -> None:
        """Writes a request; the connection must be free."""
        self._request = request
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Ends it without telling the owner."""
        self._request = None
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parses; what is no HTTP, or comes when nothing was asked, ends the connection."""
        sound = self._request is not None  # else it would be taken for the answer to the next request
        if sound:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                sound = False
        if self._whole is not None:
            self._hand_over(self._whole, usable=sound)
        elif not sound:
            self._end()

    def eof_received(self) -> None:
        """The end of an answer that tells no length; anything else is lost with the connection."""
        if self._endless and self._request is not None:
            self._hand_over((self._parser.get_status_code(), self._answer()), usable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner, once."""
        self._end()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A second answer to one request makes the connection useless: nobody knows what the next one is to."""
        if self._whole is not None:
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Looks for the length of the JSON in front of binary data, and for how the body ends."""
        known = name.lower()
        if known == _JSON_LENGTH and value.isdigit():
            self._json_bytes = int(value)
        elif known in _LENGTHS:
            self._told = True

    def on_headers_complete(self) -> None:
        """A body of no told length lasts until the server closes."""
        self._endless = not self._told

    def on_body(self, body: bytes) -> None:
        """Keeps a piece."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Keeps the answer; what is only the announcement of one (100, 103) is none."""
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL:
            self._forget()
        elif self._whole is None:
            self._whole = status, self._answer()
            self.usable = self.usable and self._parser.should_keep_alive()

    def _answer(self) -> Answer:
        return Answer(b"".join(self._pieces), self._json_bytes)

    def _hand_over(self, whole: tuple[int, Answer], *, usable: bool) -> None:
        """Ends the request; the owner may send the next one from within."""
        request, self._request = self._request, None
        self.usable = self.usable and usable
        self._begin()
        if request is not None:
            self._owner.answered(self, request, *whole)

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._whole: tuple[int, Answer] | None = None
        self._forget()

    def _forget(self) -> None:
        self._pieces: list[bytes] = []
        self._json_bytes = 0
        self._told = self._endless = False

    def _end(self) -> None:
        if not self.usable and self._request is None:
            return
        self.usable = False
        request, self._request = self._request, None
        if self._transport is not None:
            self._transport.abort()
        self._owner.lost(self, request)
