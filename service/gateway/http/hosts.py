"""The one host that a request names: who is before a server may go by the first of two, and a server by the last.

Source: RFC 9112, 3.2. A request that names none is let through, which costs nobody anything.
"""

from __future__ import annotations

from collections.abc import Sequence


def names_hosts(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request names more than one, were it the same twice."""
    return [name for name, _ in headers].count(b"host") > 1
