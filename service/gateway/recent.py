"""What was learnt of some bytes, for as long as others do not crowd it out: what is asked for again stays.

Two generations: the younger one fills, then takes the place of the older one, and what is found in that is young again.
So it costs one look, and whoever never sends the same bytes twice takes no more than its room: so many values, and so
many of the bytes themselves, of which up to twenty times as much is learnt.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")

KEPT = 1024
KEPT_BYTES = 512 << 10


class Recent(Generic[V]):
    """At most twice `kept` values, learnt of twice `kept_bytes` bytes.

    Args:
        kept: of one generation.
        kept_bytes: of its keys.
    """

    __slots__ = ("_kept", "_kept_bytes", "_old", "_young", "_young_bytes")

    def __init__(self, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._young_bytes = 0
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
        if len(self._young) >= self._kept or self._young_bytes + len(key) > self._kept_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[key] = value
        self._young_bytes += len(key)
