"""Transfer codings: a body may come in chunks, and they hold it as it is; how it is compressed Content-Encoding says.

The parser ends a body in chunks that is compressed besides where it ends, and hands its compressed bytes on as if they
were the body. Source: RFC 9112, 6.1 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence

_NAME = b"transfer-encoding"
_CHUNKED = b"chunked"


def is_coded(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a body comes in a coding that is not known here, beside chunks or in place of them."""
    return any(name == _NAME and value.strip().lower() != _CHUNKED for name, value in headers)
