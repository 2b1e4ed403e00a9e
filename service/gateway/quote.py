"""What a client sent, shown back to it in an error sentence: short, on one line, whatever it was."""

from __future__ import annotations

from collections.abc import Iterable

_LIMIT = 64
_LISTED = 8
_KINDS = {dict: "an object", list: "a list", bool: "a boolean", type(None): "null"}


def quote(value: object) -> str:
    """`value` in quotes if it is text, its kind otherwise; at most about 70 characters."""
    if not isinstance(value, str):
        return _KINDS.get(type(value), "a number")
    shown = value if len(value) <= _LIMIT else value[:_LIMIT] + "…"
    return f"'{shown}'" if shown.isprintable() else f"'{shown.encode('unicode_escape').decode('ascii')[:_LIMIT]}'"


def listing(names: Iterable[str]) -> str:
    """The first few names in quotes, separated by commas."""
    known = list(names)
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return ", ".join(quote(name) for name in known[:_LISTED]) + more
