"""The shape of a JSON document: which keys lead where, and to what kind of value; and where two shapes differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

# Below these, keys are data and not names of the protocol's.
_FREE = ("parameters", "priority_queue_policy", "metric_tags", "cc_model_filenames", "response_stats")


class Difference(NamedTuple):
    """One place where two documents differ: what is there in the first and in the second, "" where nothing is."""

    path: str
    first: str
    second: str


def shape(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, kind) of every value; an item of a list is `[]`, whichever it is."""
    if isinstance(document, dict):
        yield path, "object"
        for key, value in {} if path.rpartition(".")[2] in _FREE else document.items():
            yield from shape(value, f"{path}.{key}")
    elif isinstance(document, list):
        yield path, "list"
        for item in document:
            yield from shape(item, f"{path}[]")
    else:
        yield path, {bool: "bool", int: "number", float: "number", str: "string"}.get(type(document), "null")


def differences(first: Any, second: Any) -> list[Difference]:
    """Where the shapes differ, the highest places only: what lies below a missing key is not told again."""
    one, other = dict(shape(first)), dict(shape(second))
    found: list[Difference] = []
    for path in sorted(one.keys() | other.keys()):
        if one.get(path) != other.get(path) and not any(_below(path, known.path) for known in found):
            found.append(Difference(path, one.get(path, ""), other.get(path, "")))
    return found


def _below(path: str, above: str) -> bool:
    return path.startswith((f"{above}.", f"{above}["))
