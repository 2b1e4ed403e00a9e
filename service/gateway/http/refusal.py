"""The answer to what never becomes a request: a problem like every other, behind which the connection ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.core.errors import BadInput
from service.gateway.codec import JSON
from service.gateway.problems import named, problem


def refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Head and body of a refusal for the reason that `sentence` tells, with `headers` beside its own."""
    body = problem(status, sentence).body
    told = {"Content-Type": JSON, "Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return STATUS_LINE[status] + lines.encode("ascii") + b"\r\n" + body


def parser_error() -> Exception:
    """Why the parser has stopped, while its own error is handled: what it hands on may have found no memory."""
    stopped = sys.exception()
    cause = None if stopped is None else stopped.__context__
    return named(cause) if isinstance(cause, MemoryError) else BadInput("the request is not valid HTTP/1.1")
