"""Hides offers of another protocol from the parser, which would leave the body of such a request unread.

Java's HttpClient and `curl --http2` offer HTTP/2 with every first request (`Upgrade: h2c`); RFC 9110, 7.8 lets a server
ignore that and answer as it always does. Sees heads whole or in pieces, and never looks into a body. A head that comes
in one read with the end of another message is not seen.
"""

from __future__ import annotations

import re

END_OF_HEAD = b"\r\n\r\n"
_NAME = re.compile(rb"\nupgrade(?=:)", re.IGNORECASE)
_OFFER = b"\nupgrade:"
_KEPT_BYTES = len(_OFFER) - 1
_ANOTHER = rb"\g<0>-offer"  # a field that means nothing; what the parser has read of its name stays as it is


class Offers:
    """Of one connection."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = b""  # the last bytes of what came before, nothing at the beginning of a message

    def begin(self) -> None:
        """What comes next is the beginning of a message."""
        self._before = b""

    def passed(self, data: bytes) -> None:
        """What comes next may go on with a head that began at the end of `data`, which was none."""
        self._before = data[-_KEPT_BYTES:]

    def hidden(self, data: bytes) -> bytes:
        """More of a head, and what may follow it, without offers."""
        before = len(self._before)
        seen = self._before + data
        end = seen.find(END_OF_HEAD, 0 if before else len(data) - len(data.lstrip(b"\r\n")))
        head = seen if end < 0 else seen[:end]
        self._before = seen[-_KEPT_BYTES:]
        if _OFFER not in head.lower():  # which is quicker than to search for the pattern
            return data
        return _NAME.sub(_ANOTHER, head)[before:] + seen[len(head) :]
