"""Whether the system would give so many threads now, asked before ONNX Runtime asks for them.

A session that gets some of its threads and not the last one waits for ever, or ends the process, in ONNX Runtime 1.31.
Where none are left for it, a load is to be refused in words instead. Others may take them between the question and the
session: that is made rare, not impossible.
"""

from __future__ import annotations

import os
import threading
import time

from service.core.errors import Unavailable

_GONE_WITHIN_S = 1.0
_POLL_S = 0.0005


def start_thread(thread: threading.Thread) -> None:
    """Starts it.

    Raises:
        Unavailable: the system gives none now; it was not begun.
    """
    try:
        thread.start()
    except RuntimeError:
        raise Unavailable("the system gives the server no more threads now; try again later") from None


def check_threads(count: int) -> None:
    """Holds `count` threads at once, and lets them go; all have ended when this returns.

    Raises:
        Unavailable: there are fewer.
    """
    enough = threading.Event()
    held: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=enough.wait, name="retort-check", daemon=True)
            start_thread(thread)
            held.append(thread)
    finally:
        enough.set()
        for thread in held:
            thread.join()
        _wait_uncounted([thread.native_id for thread in held])


def _wait_uncounted(numbers: list[int | None]) -> None:
    """Waits until Linux counts them no more, a moment after they were joined; nobody else tells of that."""
    end_s = time.monotonic() + _GONE_WITHIN_S
    while any(os.path.exists(f"/proc/self/task/{number}") for number in numbers) and time.monotonic() < end_s:
        time.sleep(_POLL_S)
