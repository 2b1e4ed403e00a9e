"""What an error becomes on the wire: one table from the error tree to HTTP's status, body and headers, or gRPC's code.

The body is `{"error": "<one sentence>"}` and stays under 4 KiB whatever was sent. What was not raised on purpose
says nothing but the request's id; its traceback is for the log. Memory that the system refuses is no such surprise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson

from service.core import errors
from service.gateway.access import Forbidden, OverQuota, Unauthenticated

CLIENT_LEFT = 499  # nginx's word for it; nobody reads it but our own counters

_MESSAGE_LIMIT_BYTES = 2048
_NO_MEMORY = "the system gives the server no more memory now; try again later"

# The nearest ancestor counts.
STATUS: Mapping[type[errors.RetortError], int] = MappingProxyType(
    {
        errors.BadInput: HTTPStatus.BAD_REQUEST,
        errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        errors.TooSlow: HTTPStatus.REQUEST_TIMEOUT,
        Unauthenticated: HTTPStatus.UNAUTHORIZED,
        Forbidden: HTTPStatus.FORBIDDEN,
        OverQuota: HTTPStatus.TOO_MANY_REQUESTS,
        errors.NotFound: HTTPStatus.NOT_FOUND,
        errors.Conflict: HTTPStatus.CONFLICT,
        errors.BadModel: HTTPStatus.BAD_REQUEST,
        errors.RunFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.Abandoned: CLIENT_LEFT,
        errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
# gRPC's codes by name; the nearest ancestor counts. Source: grpc/doc/statuscodes.md.
GRPC_CODE: Mapping[type[errors.RetortError], str] = MappingProxyType(
    {
        errors.BadInput: "INVALID_ARGUMENT",
        errors.TooLarge: "RESOURCE_EXHAUSTED",
        errors.TooSlow: "DEADLINE_EXCEEDED",
        Unauthenticated: "UNAUTHENTICATED",
        Forbidden: "PERMISSION_DENIED",
        OverQuota: "RESOURCE_EXHAUSTED",
        errors.NotFound: "NOT_FOUND",
        errors.Conflict: "ABORTED",
        errors.Refused: "FAILED_PRECONDITION",
        errors.BadModel: "INVALID_ARGUMENT",
        errors.RunFailed: "INTERNAL",
        errors.Abandoned: "CANCELLED",
        errors.Unavailable: "UNAVAILABLE",
        errors.Expired: "DEADLINE_EXCEEDED",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP says it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: Exception, request_id: str) -> Problem:
    """How `error` is answered; anything outside the error tree is a 500 that names only `request_id`."""
    error = named(error)
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"internal error, request id {request_id}")
    more = error.verdict if isinstance(error, errors.Refused) else {}
    return problem(status, str(error), _headers(error), more)


@dataclass(frozen=True, slots=True)
class CallProblem:
    """An error as gRPC says it; `retry_after_s` is whole seconds, None where trying again is of no use."""

    code: str
    sentence: str
    retry_after_s: int | None = None


def call_problem_of(error: Exception, request_id: str) -> CallProblem:
    """How `error` ends a call; anything outside the error tree is INTERNAL and names only `request_id`."""
    error = named(error)
    code = next((GRPC_CODE[kind] for kind in type(error).__mro__ if kind in GRPC_CODE), None)
    if code is None:
        return CallProblem("INTERNAL", f"internal error, request id {request_id}")
    return CallProblem(code, _cut(str(error)), _retry_after_s(error))


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}  # RFC 9110, 11.6.1
    retry_after_s = _retry_after_s(error)
    return {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}


def _retry_after_s(error: Exception) -> int | None:
    return error.retry_after_s if isinstance(error, errors.Unavailable | OverQuota) else None


def problem(
    status: int, sentence: str, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
) -> Problem:
    """The error body for `sentence`, with the keys of `more` beside it."""
    body = orjson.dumps({**(more or {}), "error": _cut(sentence)}, default=str)
    return Problem(status, body, headers or {})


def was_meant(error: Exception) -> bool:
    """Whether `error` was raised on purpose, so that its message is for the client and its traceback for nobody."""
    return isinstance(named(error), errors.RetortError)


def named(error: Exception) -> Exception:
    """`error` in the words of the tree: where the system refuses memory nothing is wrong with the request."""
    return errors.Unavailable(_NO_MEMORY) if isinstance(error, MemoryError) else error


def _cut(sentence: str) -> str:
    """`sentence` on one line, at most `_MESSAGE_LIMIT_BYTES` long as JSON."""
    line = sentence if sentence.isprintable() else sentence.encode("unicode_escape").decode("ascii")
    octets = line.encode()
    return line if len(octets) <= _MESSAGE_LIMIT_BYTES else octets[:_MESSAGE_LIMIT_BYTES].decode(errors="ignore") + "…"
