"""Ctrl-C that ends a command even inside a library's call that does not come back, such as a loop in a model file.

Python raises KeyboardInterrupt only between two of its own steps. Here a thread hears of the signal at once; where the
command has not ended after a moment, it says the last words and ends the process.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED = 130
_GRACE_S = 2.0


@contextmanager
def ended_by_ctrl_c(last_words: Callable[[], None]) -> Iterator[None]:
    """Within it, SIGINT raises KeyboardInterrupt as ever, or ends the process with exit code 130 after 2 s.

    Args:
        last_words: told before such an end, on another thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, told = socket.socketpair()
    told.setblocking(False)
    ended = threading.Event()
    listener = threading.Thread(target=_listen, args=(heard, ended, last_words), name="retort-ctrl-c", daemon=True)
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        told.close()  # what the listener reads then is the end
        listener.join()
        heard.close()


def _listen(heard: socket.socket, ended: threading.Event, last_words: Callable[[], None]) -> None:
    while signals := heard.recv(64):
        if signal.SIGINT in signals and not ended.wait(_GRACE_S):
            try:
                last_words()
            finally:
                os._exit(INTERRUPTED)
