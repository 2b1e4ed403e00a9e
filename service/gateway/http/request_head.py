"""What a request's head says: the model, the JSON's length, the deadline, who sent it, and its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import Request
from starlette.types import Scope

from service.core.contract import ModelRef
from service.core.deadline import NEVER, Deadline
from service.core.errors import BadInput
from service.gateway.guard import HEADER_LENGTH

# Keys of a scope whose connection knows the head: what it says, and whom an inference request is for.
HEAD = "retort.head"
REF = "retort.ref"
CAME_S = "retort.came_s"  # key of a scope: when a request came that had to wait for its turn
_TIMEOUT = b"retort-timeout-ms"
_REQUEST_ID = b"x-request-id"
_DIGITS_LIMIT = 15


class RequestHead(NamedTuple):
    """A head that was read.

    Attributes:
        headers: by lower-case name; of several with one name the last.
        header_length: bytes of JSON before the binary data; None without `Inference-Header-Content-Length`.
        timeout_s: what `Retort-Timeout-Ms` asks for, run or not; None without it. The parameter `timeout` bounds the
            wait for a run alone.
    """

    headers: Mapping[bytes, bytes]
    header_length: int | None
    timeout_s: float | None

    def deadline(self, began_s: float) -> Deadline:
        """Of a request that began then."""
        return NEVER if self.timeout_s is None else Deadline.after(began_s, self.timeout_s)


def ref_of(request: Request) -> ModelRef:
    """The model, and the version if any, that the path names."""
    known: ModelRef | None = request.scope.get(REF)
    return known or ModelRef(request.path_params["model"], request.path_params.get("version"))


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers by lower-case name; of several with one name the last."""
    known: RequestHead | None = scope.get(HEAD)
    return dict(scope["headers"]) if known is None else known.headers


def head_of(scope: Scope, headers: Mapping[bytes, bytes]) -> RequestHead:
    """What the head of a request says, whose headers are `headers`. Raises BadInput."""
    return scope.get(HEAD) or read_head(headers)


def read_head(headers: Mapping[bytes, bytes]) -> RequestHead:
    """What these headers say.

    Raises:
        BadInput: `Inference-Header-Content-Length` is no number of bytes, or `Retort-Timeout-Ms` no number of
            milliseconds above 0.
    """
    length = _whole_number(headers.get(HEADER_LENGTH), "Inference-Header-Content-Length", "a number of bytes")
    return RequestHead(headers, length, _timeout_s(headers))


def deadline_of(headers: Mapping[bytes, bytes], began_s: float) -> Deadline:
    """Of a request that began then, whatever else its head says. Raises BadInput."""
    return RequestHead(headers, None, _timeout_s(headers)).deadline(began_s)


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


def _timeout_s(headers: Mapping[bytes, bytes]) -> float | None:
    timeout_ms = _whole_number(headers.get(_TIMEOUT), "Retort-Timeout-Ms", "a whole number of milliseconds above 0")
    if timeout_ms == 0:
        raise BadInput("the header Retort-Timeout-Ms is 0, expected a whole number of milliseconds above 0")
    return None if timeout_ms is None else timeout_ms / 1e3


def _whole_number(value: bytes | None, name: str, expected: str) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > _DIGITS_LIMIT:
        raise BadInput(f"the header {name} must be {expected}")
    return int(value)
