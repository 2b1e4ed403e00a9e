"""Between the socket and the handlers: how large a body may be, and whether anybody still waits for the answer.

A body is counted while it arrives, against its own limit and the budget of all, and copied once at most. A client that
leaves is noticed only for answers that are slow, so that a quick request pays for no task. Knows nothing of what the
body says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope

from service.core.errors import Abandoned, TooLarge
from service.gateway.compression import decoded

Body = bytes | memoryview

PATIENCE_S = 0.02
BROKEN = "retort.broken"  # key of a scope: the error that ends a request whose body cannot be read to its end
SHARE = "retort.share"  # key of a scope: what the request holds of the budget, a `Share`
BODY = "retort.body"  # key of a scope: all of the body, where it came whole
INTO = "retort.into"  # key of a scope: reads a large body into memory that is aligned at an offset
WATCH = "retort.watch"  # key of a scope: the `Watch` over its client
HEADER_LENGTH = b"inference-header-content-length"
_NOTHING: Scope = {}
_LENGTH_DIGITS = 19


def hold(scope: Scope, size_bytes: int) -> None:
    """Takes so many bytes from the budget, until the answer is sent. Raises what `take` does: there is no room."""
    if SHARE in scope:
        scope[SHARE].take(size_bytes)


def body_of(scope: Scope, headers: Mapping[bytes, bytes], limit_bytes: int) -> bytes | None:
    """The body of a request that came whole, and may be taken as it is; None for one that `read_body` has to read.

    Raises:
        Rejected: the budget is used up.
        TooLarge: it never has so much.
    """
    body: bytes | None = scope.get(BODY)
    if body is None or len(body) > limit_bytes or b"content-encoding" in headers:
        return None
    if SHARE in scope:
        scope[SHARE].take(len(body))
    return body


async def read_tensors(headers: Mapping[bytes, bytes], receive: Receive, limit_bytes: int, scope: Scope) -> Body:
    """The same as `read_body`; a large body of binary tensors is read to where it stays, aligned for them."""
    offset = headers.get(HEADER_LENGTH, b"").lstrip(b"0")
    direct = INTO in scope and BROKEN not in scope and b"content-encoding" not in headers
    if not direct or not offset.isdigit() or len(offset) > _LENGTH_DIGITS:
        return await read_body(headers, receive, limit_bytes, scope)
    _check_announced(headers, limit_bytes, scope)
    take = scope[SHARE].take if SHARE in scope else lambda _: None
    body: memoryview = await scope[INTO](int(offset), take)
    return body


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit_bytes: int, scope: Scope = _NOTHING
) -> bytes:
    """The whole body of a request, decoded.

    Args:
        headers: by lower-case name.
        receive: the ASGI callable, from which nothing was read yet.
        limit_bytes: the largest body, as it arrives and once decoded; one that announces more is refused unread.
        scope: of the request: its `SHARE`, from which each part is taken as it comes, and again once decoded; and
            what `BROKEN` it.

    Raises:
        TooLarge: more than `limit_bytes`, or than the budget ever has; announced or not.
        BadInput: its Content-Encoding is not known, or not what it is; or its connection says that it is broken.
        Rejected: the budget is used up.
        Abandoned: the client went away before its end.
    """
    _check_announced(headers, limit_bytes, scope)
    message = await receive()
    chunks: list[bytes] = []
    size_bytes = 0
    while message["type"] != "http.disconnect":
        if BROKEN in scope:
            chunks.clear()  # the error is kept by the scope, and by its traceback keeps this list and the scope
            raise scope[BROKEN]
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if SHARE in scope:
            scope[SHARE].take(len(chunks[-1]))
        if not message.get("more_body", False):
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            return await _decoded(body, headers, limit_bytes, scope) if b"content-encoding" in headers else body
        message = await receive()
    raise Abandoned("the client went away before the end of its request")


class Watch:
    """Cancels who works for a client that goes away: `with watch`, around the work, in the task that does it.

    Leaving the block with that cancel raises `Abandoned` in its place.
    """

    __slots__ = ("_client_left", "_worker")

    def __init__(self) -> None:
        self._client_left = False
        self._worker: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        self._worker = asyncio.current_task()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        worker, self._worker = self._worker, None
        if self._client_left and kind is asyncio.CancelledError and worker is not None and worker.uncancel() == 0:
            raise Abandoned("the client went away before its answer") from None

    def leave(self) -> None:
        """The client went away."""
        if self._worker is not None:
            self._client_left = True
            self._worker.cancel()


def while_client_waits(scope: Scope, receive: Receive, patience_s: float = PATIENCE_S) -> Watch:
    """The watch over a request's client.

    Args:
        scope: of the request; its connection may keep a watch there that hears of the client by itself.
        receive: the ASGI callable; the body must have been read to its end.
        patience_s: without such a watch, how long the answer may take before anyone looks whether the client is there.
    """
    return scope.get(WATCH) or _Listener(receive, patience_s)


class _Listener(Watch):
    """Waits for `http.disconnect`, in a task of its own, once the answer is slow."""

    __slots__ = ("_patience_s", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive, patience_s: float) -> None:
        super().__init__()
        self._receive = receive
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        super().__enter__()
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._listen)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        super().__exit__(kind, error, trace)

    def _listen(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait(), name="disconnect watch")

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.leave()


async def _decoded(body: bytes, headers: Mapping[bytes, bytes], limit_bytes: int, scope: Scope) -> bytes:
    """A few bytes may become many: these are held against the budget as those that arrive are."""
    return await decoded(body, headers, limit_bytes, scope[SHARE].take if SHARE in scope else lambda _: None)


def _check_announced(headers: Mapping[bytes, bytes], limit_bytes: int, scope: Scope) -> None:
    announced = headers.get(b"content-length", b"")
    if len(announced) > _LENGTH_DIGITS:
        raise _too_large(limit_bytes)
    size_bytes = int(announced) if announced.isdigit() else 0
    if size_bytes > limit_bytes:
        raise _too_large(limit_bytes)
    if SHARE in scope:
        scope[SHARE].check(size_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than the limit of {limit_bytes} bytes")
