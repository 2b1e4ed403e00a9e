"""What was learnt of some bytes, for as long as others do not crowd it out: what is asked for again stays.

Two generations: the younger one fills, then takes the place of the older one, and what is found in that is young again.
So it costs one look, and whoever never sends the same bytes twice takes no more than its room.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")

KEPT = 1024


class Recent(Generic[V]):
    """At most twice `kept` values.

    Args:
        kept: of one generation.
    """

    __slots__ = ("_kept", "_old", "_young")

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> V | None:
        """What was learnt of `key`; None where nothing was, or that is forgotten."""
        found = self._young.get(key)
        if found is None and (found := self._old.pop(key, None)) is not None:
            self.put(key, found)
        return found

    def put(self, key: bytes, value: V) -> None:
        """Remembers it."""
        if len(self._young) >= self._kept:
            self._old, self._young = self._young, {}
        self._young[key] = value
