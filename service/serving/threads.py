"""Blocking work beside the event loop, one daemon thread a call, so that work that never ends can be given up.

A pool would lose a worker for good to each call that hangs, and wait for it at exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from service.runtime.spare_threads import start_thread

T = TypeVar("T")

STAND_BACK_NICE = 10


def stand_back() -> None:
    """Lets the calling thread run where others leave it time; for good, since only root may take that back.

    Linux gives each thread a niceness of its own, and a thread that starts another hands its own down: call it after
    the session, with its threads, is built. Elsewhere it does nothing.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            nice = max(STAND_BACK_NICE, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, nice)


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Awaits `work()` run in a daemon thread called `name`; its exception is raised here.

    Cancelling the wait does not end the thread: pass `work` a flag it looks at.

    Raises:
        Unavailable: the system gives no thread now; `work` was not begun.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    start_thread(threading.Thread(target=_do, args=(work, future, loop), name=name, daemon=True))
    try:
        return await future
    finally:
        del future  # it holds the error, whose traceback holds this frame: no cycle may keep what the work held


def _do(work: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    """Does the work on its thread and reports to the loop."""
    result, error = None, None
    try:
        result = work()
    except BaseException as raised:
        error = raised
    try:
        loop.call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        return  # the loop has ended: nobody waits
    finally:
        del future, result, error  # as above


def _settle(future: asyncio.Future[T], result: T | None, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]
