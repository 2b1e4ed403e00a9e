"""One connection to a client: uvicorn's HTTP/1.1, deaf to offers of another protocol.

Java's HttpClient and `curl --http2` offer HTTP/2 with every first request (`Upgrade: h2c`); RFC 9110, 7.8 lets a server
ignore that and answer as it always does. uvicorn drops the body of such a request. Knows nothing of what is asked.
"""

from __future__ import annotations

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_END_OF_HEAD = b"\r\n\r\n"
_OFFER = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)
_NOT_TAKEN = b"\r\nx-offer"  # a name of the same length, that means nothing


class Connection(HttpToolsProtocol):
    """uvicorn's connection, whose parser never hears of an upgrade where the head comes in one piece."""

    _inside = False  # a message whose end has not come yet

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self._inside:
            end = data.find(_END_OF_HEAD)
            if _OFFER.search(data, 0, end + 1):
                data = _OFFER.sub(_NOT_TAKEN, data[:end]) + data[end:]
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request has come to its end."""
        self._inside = False
        super().on_message_complete()
