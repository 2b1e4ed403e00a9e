"""Turns a wrong name into a sentence's end that says which known name comes closest; knows nothing of what is named."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_QUOTE_LIMIT = 64


def quoted(name: str) -> str:
    """The name in quotes, on one line, ASCII only and at most about 64 characters: safe in a message or a log."""
    return ascii(name if len(name) <= _QUOTE_LIMIT else name[:_QUOTE_LIMIT] + "...")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'digits'?"`, or "." when nothing known comes close."""
    close = difflib.get_close_matches(name[:_QUOTE_LIMIT], list(known), n=1)
    return f"; did you mean {quoted(close[0])}?" if close else "."
