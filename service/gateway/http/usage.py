"""What a message that is coming has used of its connection's limits: its head, and its body as it came over the wire.

Knows neither the connection nor a clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.gateway.http.limits import Limits

_FIELD_OVERHEAD_BYTES = 4  # ": " and the end of the line


class Usage:
    """Of one message at a time.

    Args:
        limits: of its connection.

    Attributes:
        read_bytes: of the read that is being parsed, which a message before this one may have a part of.
        body_bytes: of the body, without what is around it.
    """

    __slots__ = ("_head_bytes", "_limits", "_window_bytes", "_wire_bytes", "body_bytes", "read_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.read_bytes = self.body_bytes = 0
        self._head_bytes = self._wire_bytes = self._window_bytes = 0

    def begin(self) -> None:
        """A message begins."""
        self._head_bytes = 0

    def begin_body(self) -> None:
        """Its head has come to its end."""
        self.body_bytes = self._wire_bytes = self._window_bytes = 0

    def begin_window(self) -> None:
        """Another time begins in which it must come on."""
        self._window_bytes = 0

    def is_head_over(self, size_bytes: int, fields: int) -> bool:
        """Whether a head that goes on is beyond its limits, with so many bytes more and so many fields by now."""
        self._head_bytes += size_bytes
        return self._head_bytes > self._limits.head_bytes or fields > self._limits.head_fields

    def was_head_over(self, url: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a head that ended was beyond its limits; only where its reads were is it looked at byte by byte."""
        if len(fields) > self._limits.head_fields:
            return True
        if self._head_bytes + self.read_bytes <= self._limits.head_bytes:
            return False
        fields_bytes = sum(len(name) + len(value) + _FIELD_OVERHEAD_BYTES for name, value in fields)
        return len(url) + fields_bytes > self._limits.head_bytes

    def body_came(self, size_bytes: int) -> None:
        """So much of a body came that has nothing around it."""
        self._window_bytes += size_bytes

    def is_framing_over(self, size_bytes: int) -> bool:
        """Whether a body that goes on, with so many bytes more, has too much around it."""
        self._window_bytes += size_bytes
        self._wire_bytes += size_bytes
        return self._limits.too_much_framing(self._wire_bytes, self.body_bytes)

    @property
    def is_slow(self) -> bool:
        """Whether a window that ends now has brought too little."""
        return self._window_bytes < self._limits.window_bytes
