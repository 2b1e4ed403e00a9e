"""What a request that changes something says: a short JSON object, or nothing.

Knows nothing of what may stand in it.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from service.gateway.codec import parse_object
from service.gateway.guard import read_body
from service.gateway.http.request_head import headers_of

_LIMIT_BYTES = 64 << 10


async def order_of(request: Request) -> dict[str, Any]:
    """The object that a request brings, empty where it has no body. Raises what `read_body` and `parse_object` do."""
    body = await body_of_order(request, _LIMIT_BYTES)
    return parse_object(body) if body else {}


async def body_of_order(request: Request, limit_bytes: int) -> bytes:
    """The body of a request that changes something, of at most so many bytes. Raises what `read_body` does."""
    return await read_body(headers_of(request.scope), request.receive, limit_bytes, request.scope)
