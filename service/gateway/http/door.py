"""Lets a request through to its handler if it brings a key with the right that the route asks for.

Without keys a handler is its own door, and nothing is looked at. Knows nothing of what is behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.gateway.access import HOLDER
from service.gateway.http.request_head import origin_of
from service.gateway.keyring import Keyring, key_in
from service.gateway.rights import Holder, Right

Handler = Callable[[Request], Awaitable[Response]]


def guarded(handler: Handler, right: Right, keyring: Keyring | None) -> Handler:
    """`handler`, for those alone who have `right`; raises what `Keyring.admit` does before the body is read.

    Args:
        handler: of a route.
        right: what the route asks for.
        keyring: who holds which key; None for a server without keys.
    """
    if keyring is None or right is Right.OPEN:
        return handler

    async def guarded_handler(request: Request) -> Response:
        request.scope[HOLDER] = keyring.admit(_key_of(request.scope), right)
        return await handler(request)

    # Not by `wraps`: FastAPI would then call it by the names of the parameters of what is behind.
    guarded_handler.__name__, guarded_handler.__doc__ = handler.__name__, handler.__doc__
    return guarded_handler


def sender_of(scope: Scope) -> str:
    """Who is held to what a request does: the holder of its key, else the peer's address."""
    holder: Holder | None = scope.get(HOLDER)
    return holder.name if holder is not None else origin_of(scope)


def _key_of(scope: Scope) -> bytes | None:
    authorization = api_key = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
        elif name == b"x-api-key":
            api_key = value
    return key_in(authorization, api_key)
