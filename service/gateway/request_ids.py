"""The id of each request over either transport: the client's own if it may stand in a log line, else one of ours.

Knows neither transport.
"""

from __future__ import annotations

import re
import secrets
from itertools import count

_LEGAL_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Ids, of which no two of our own are alike."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    def chosen(self, given: bytes) -> str:
        """The client's `X-Request-Id` if it is short and plain, else one of our own; b"" for none."""
        if given and _LEGAL_ID.fullmatch(given):
            return str(given, "ascii")
        return self.new()

    def new(self) -> str:
        """One of our own."""
        return f"{self._prefix}-{next(self._numbers):x}"
