"""The process that children are forked from: `python -m service.runtime.isolation.cradle SOCKET`.

It has imported what a child needs but ONNX Runtime, whose import starts a thread: a fork of one thread is a whole
process, so a child is there in milliseconds. It never sees a model. Ends when the server does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence

from service.runtime import memory
from service.runtime.isolation import inside
from service.runtime.isolation.wire import Gone, readable, receive, send

_REAP_EVERY_S = 1.0


def main(arguments: Sequence[str]) -> None:
    """Forks a child for each message that comes through the socket; the child takes over the descriptor in it."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a supervisor may tell all of a service; the server answers on
        signal.signal(number, signal.SIG_IGN)
    server = socket.socket(fileno=int(arguments[0]))
    memory.share_one_heap()
    while True:
        _reap()
        if not readable(server, _REAP_EVERY_S):
            continue
        try:
            _, descriptors = receive(server)
            _bear(server, descriptors)
        except Gone:
            os._exit(0)


def _bear(server: socket.socket, descriptors: list[int]) -> None:
    pid = os.fork()
    if pid == 0:
        server.close()
        inside.main(socket.socket(fileno=descriptors[0]))
    for descriptor in descriptors:
        os.close(descriptor)
    handle = os.pidfd_open(pid)  # not reaped yet, so the number is still this child's
    send(server, {"pid": pid}, [handle])
    os.close(handle)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(sys.argv[1:])
