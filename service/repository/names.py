"""Which texts are names of models and versions, and in which order versions come.

A name is one path component that means the same to every file system, shell and URL: no "..", no slash, no NUL.
"""

from __future__ import annotations

import re

# The first character is no dot: a folder that is being published has a hidden name until it is whole.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LEADING_NUMBER = re.compile(r"[0-9]+")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def is_name(text: str) -> bool:
    """Whether the text may name a model or a version."""
    return _NAME.fullmatch(text) is not None


def legal_name(text: str) -> str:
    """The name nearest to a file's stem: what a name may not hold becomes "-"; "model" when nothing is left."""
    return _NOT_IN_A_NAME.sub("-", text).lstrip(".-")[:128] or "model"


def version_order(version: str) -> tuple[bool, int, str]:
    """Sorts `1`, `1-int8`, `2`, `10`, `beta`: by the number in front, then by text; ids without a number come last."""
    number = _LEADING_NUMBER.match(version)
    return (number is None, int(number[0]) if number else 0, version)
