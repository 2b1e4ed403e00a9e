"""Between the socket and the handlers: how large a body may be, and whether anybody still waits for the answer.

A body is counted while it arrives, and copied once at most. A client that leaves is noticed only for answers that are
slow, so that a quick request pays for no task. Knows nothing of what the body says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, TypeVar, cast

from starlette.types import Receive, Scope

from service.core.errors import Abandoned, TooLarge
from service.gateway.compression import decoded

T = TypeVar("T")

PATIENCE_S = 0.02
WATCH = "retort.watch"  # key of a scope: the `Watch` over its client
_LENGTH_DIGITS = 19


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit_bytes: int) -> bytes:
    """The whole body of a request, decoded.

    Args:
        headers: by lower-case name.
        receive: the ASGI callable, from which nothing was read yet.
        limit_bytes: the largest body, as it arrives and once decoded; one that announces more is refused unread.

    Raises:
        TooLarge: more than `limit_bytes`, announced or not.
        BadInput: its Content-Encoding is not known, or not what it is.
        Abandoned: the client went away before its end.
    """
    _check_announced(headers, limit_bytes)
    message = await receive()
    chunks: list[bytes] = []
    size_bytes = 0
    while message["type"] != "http.disconnect":
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if not message.get("more_body", False):
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            return await decoded(body, headers, limit_bytes) if b"content-encoding" in headers else body
        message = await receive()
    raise Abandoned("the client went away before the end of its request")


class Watch(Protocol):
    """Cancels who works for a client that goes away.

    Attributes:
        client_left: whether it did.
    """

    client_left: bool

    def begin(self, worker: asyncio.Task[Any], /) -> None:
        """From now on."""

    def end(self) -> None:
        """No longer."""


async def while_client_waits(work: Awaitable[T], scope: Scope, receive: Receive, patience_s: float = PATIENCE_S) -> T:
    """The result of `work`, which is cancelled when the client goes away.

    Args:
        work: runs in the calling task.
        scope: of the request; its connection may keep a watch there that hears of the client by itself.
        receive: the ASGI callable; the body must have been read to its end.
        patience_s: without such a watch, how long the answer may take before anyone looks whether the client is there.

    Raises:
        Abandoned: the client went away first; `work` has ended.
    """
    worker = cast("asyncio.Task[Any]", asyncio.current_task())
    watch: Watch = scope.get(WATCH) or _Listener(receive, patience_s)
    watch.begin(worker)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.client_left and worker.uncancel() == 0:
            raise Abandoned("the client went away before its answer") from None
        raise
    finally:
        watch.end()


class _Listener:
    """Waits for `http.disconnect`, in a task of its own, once the answer is slow."""

    __slots__ = ("_patience_s", "_receive", "_task", "_timer", "_worker", "client_left")

    def __init__(self, receive: Receive, patience_s: float) -> None:
        self.client_left = False
        self._receive = receive
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None

    def begin(self, worker: asyncio.Task[Any]) -> None:
        self._worker = worker
        self._timer = asyncio.get_running_loop().call_later(self._patience_s, self._listen)

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _listen(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._wait(), name="disconnect watch")

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        self._worker.cancel()


def _check_announced(headers: Mapping[bytes, bytes], limit_bytes: int) -> None:
    announced = headers.get(b"content-length", b"")
    if len(announced) > _LENGTH_DIGITS or (announced.isdigit() and int(announced) > limit_bytes):
        raise _too_large(limit_bytes)


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than the limit of {limit_bytes} bytes")
