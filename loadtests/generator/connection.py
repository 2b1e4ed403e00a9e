"""One HTTP/1.1 connection that carries one request at a time, as cheaply as Python can."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httptools

from loadtests.generator.block import Answer

_JSON_LENGTH = b"inference-header-content-length"


class Owner(Protocol):
    """Whoever is told what comes of the requests."""

    def answered(self, connection: Connection, request: int, status: int, answer: Answer) -> None:
        """The answer to `request` is whole; the connection is free again if it is `usable`."""

    def lost(self, connection: Connection, request: int | None) -> None:
        """The connection ended; `request` was waiting for its answer, or none was."""


class Connection(asyncio.Protocol):
    """A connection; `usable` until the server closes it."""

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
        """Parses; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner, once."""
        self._end()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Looks for the length of the JSON in front of binary data."""
        if name.lower() == _JSON_LENGTH and value.isdigit():
            self._json_bytes = int(value)

    def on_body(self, body: bytes) -> None:
        """Keeps a piece."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Hands the answer over; the next request may be sent from within."""
        request, self._request = self._request, None
        status, answer = self._parser.get_status_code(), Answer(b"".join(self._pieces), self._json_bytes)
        self.usable = self.usable and self._parser.should_keep_alive()
        self._begin()
        if request is not None:
            self._owner.answered(self, request, status, answer)

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._json_bytes = 0

    def _end(self) -> None:
        if not self.usable and self._request is None:
            return
        self.usable = False
        request, self._request = self._request, None
        if self._transport is not None:
            self._transport.abort()
        self._owner.lost(self, request)
