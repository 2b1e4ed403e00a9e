"""What an inference request's head says: the JSON's length, the deadline, who sent it, and its id."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Scope

from service.core.deadline import Deadline
from service.core.errors import BadInput

# Keys of a scope whose connection knows the head: its headers by name, and whom an inference request is for.
HEADERS = "retort.headers"
REF = "retort.ref"
CAME_S = "retort.came_s"  # key of a scope: when a request came that had to wait for its turn
_HEADER_LENGTH = b"inference-header-content-length"
_TIMEOUT = b"retort-timeout-ms"
_REQUEST_ID = b"x-request-id"
_DIGITS_LIMIT = 15


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers by lower-case name; of several with one name the last."""
    known: Mapping[bytes, bytes] | None = scope.get(HEADERS)
    return dict(scope["headers"]) if known is None else known


def header_length_of(headers: Mapping[bytes, bytes]) -> int | None:
    """`Inference-Header-Content-Length` in bytes, None without it. Raises BadInput."""
    return _whole_number(headers.get(_HEADER_LENGTH), "Inference-Header-Content-Length", "a number of bytes")


def deadline_of(headers: Mapping[bytes, bytes], began_s: float) -> Deadline:
    """What `Retort-Timeout-Ms` asks for, run or not; the parameter `timeout` bounds the wait for a run alone.

    Raises:
        BadInput: the header is no number of milliseconds above 0.
    """
    timeout_ms = _whole_number(headers.get(_TIMEOUT), "Retort-Timeout-Ms", "a whole number of milliseconds above 0")
    if timeout_ms == 0:
        raise BadInput("the header Retort-Timeout-Ms is 0, expected a whole number of milliseconds above 0")
    return Deadline.never() if timeout_ms is None else Deadline.after(began_s, timeout_ms / 1e3)


def origin_of(scope: Scope) -> str:
    """The peer's address, "" where it has none."""
    client = scope.get("client")
    return client[0] if client else ""


def request_id_of(scope: Scope) -> bytes:
    """The client's `X-Request-Id`, b"" without one."""
    for name, value in scope["headers"]:
        if name == _REQUEST_ID:
            return bytes(value)
    return b""


def _whole_number(value: bytes | None, name: str, expected: str) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > _DIGITS_LIMIT:
        raise BadInput(f"the header {name} must be {expected}")
    return int(value)
