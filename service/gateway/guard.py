"""Between the socket and the handlers: how large a body may be, and whether anybody still waits for the answer.

A body is counted while it arrives, against its own limit and the budget of all, and copied once at most. A client that
leaves is noticed only for answers that are slow, so that a quick request pays for no task. Knows nothing of what the
body says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar, cast

from starlette.types import Receive, Scope

from service.core.errors import Abandoned, TooLarge
from service.gateway.compression import decoded

T = TypeVar("T")

PATIENCE_S = 0.02
BROKEN = "retort.broken"  # key of a scope: the error that ends a request whose body cannot be read to its end
SHARE = "retort.share"  # key of a scope: what the request holds of the budget, a `Share`
_NOTHING: Scope = {}
_LENGTH_DIGITS = 19


def hold_answer(scope: Scope, size_bytes: int) -> None:
    """Takes an answer of so many bytes from the budget, until it is sent. Raises `Rejected`: there is no room."""
    if SHARE in scope:
        scope[SHARE].take(size_bytes)


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
        TooLarge: more than `limit_bytes`, announced or not.
        BadInput: its Content-Encoding is not known, or not what it is; or its connection says that it is broken.
        Rejected: the budget is used up.
        Abandoned: the client went away before its end.
    """
    _check_announced(headers, limit_bytes)
    message = await receive()
    chunks: list[bytes] = []
    size_bytes = 0
    while message["type"] != "http.disconnect":
        if BROKEN in scope:
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


async def while_client_waits(work: Awaitable[T], receive: Receive, patience_s: float = PATIENCE_S) -> T:
    """The result of `work`, which is cancelled when the client goes away.

    Args:
        work: runs in the calling task.
        receive: the ASGI callable; the body must have been read to its end.
        patience_s: how long the answer may take before anyone looks whether the client is there.

    Raises:
        Abandoned: the client went away first; `work` has ended.
    """
    watch = _Watch(receive)
    timer = asyncio.get_running_loop().call_later(patience_s, watch.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.client_left and watch.worker.uncancel() == 0:
            raise Abandoned("the client went away before its answer") from None
        raise
    finally:
        timer.cancel()
        watch.end()


class _Watch:
    """Waits for `http.disconnect` in a task of its own, then cancels the task that made it."""

    __slots__ = ("_receive", "_task", "client_left", "worker")

    def __init__(self, receive: Receive) -> None:
        self.worker = cast("asyncio.Task[Any]", asyncio.current_task())
        self.client_left = False
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait(), name="disconnect watch")

    def end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self.worker.cancel()


async def _decoded(body: bytes, headers: Mapping[bytes, bytes], limit_bytes: int, scope: Scope) -> bytes:
    """A few bytes may become many: these are held against the budget as those that arrive are."""
    return await decoded(body, headers, limit_bytes, scope[SHARE].take if SHARE in scope else lambda _: None)


def _check_announced(headers: Mapping[bytes, bytes], limit_bytes: int) -> None:
    announced = headers.get(b"content-length", b"")
    if len(announced) > _LENGTH_DIGITS or (announced.isdigit() and int(announced) > limit_bytes):
        raise _too_large(limit_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than the limit of {limit_bytes} bytes")
