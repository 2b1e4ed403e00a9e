"""The process that children are forked from: `python -m service.runtime.isolation.cradle SOCKET`.

It has imported what a child needs but ONNX Runtime, whose import starts a thread: a fork of one thread is a whole
process, so a child is there in milliseconds. It never sees a model. What a child started and left behind becomes its
own, and is ended. Ends when the server does, after all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from service.core import orphan
from service.runtime import memory
from service.runtime.isolation import inside
from service.runtime.isolation.wire import Gone, readable, receive, send

_REAP_EVERY_S = 1.0
_END_S = 1.0  # of what is left when the server has gone
_LOOK_S = 0.005
_MOST_KEPT = 64  # of those that nobody asked about

Ended = dict[int, int]  # child's number -> its status, as waitpid tells it


def main(arguments: Sequence[str]) -> None:
    """Answers what comes through the socket: forks a child that takes over the descriptor, or tells how one ended."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a supervisor may tell all of a service; the server answers on
        signal.signal(number, signal.SIG_IGN)
    server = socket.socket(fileno=int(arguments[0]))
    memory.share_one_heap()
    orphan.adopt()
    own: set[int] = set()
    ended: Ended = {}
    while True:
        _reap(ended, own)
        if not readable(server, _REAP_EVERY_S):
            continue
        try:
            message, descriptors = receive(server)
            if "ended" in message:
                _reap(ended, own)
                send(server, {"status": ended.pop(message["ended"], None)})
            else:
                _bear(server, descriptors, own)
        except Gone:
            _end_all(own)
            os._exit(0)


def _bear(server: socket.socket, descriptors: list[int], own: set[int]) -> None:
    pid = os.fork()
    if pid == 0:
        server.close()
        inside.main(socket.socket(fileno=descriptors[0]))
    own.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    handle = os.pidfd_open(pid)  # not reaped yet, so the number is still this child's
    send(server, {"pid": pid}, [handle])
    os.close(handle)


def _reap(ended: Ended, own: set[int]) -> None:
    """Takes note of those that ended, and ends what they left behind."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] not in own:
                continue
            own.remove(found[0])
            ended.pop(found[0], None)  # another's, which had this number before
            ended[found[0]] = found[1]
            if len(ended) > _MOST_KEPT:
                del ended[next(iter(ended))]
    _kill(orphan.children() - own)


def _end_all(own: set[int]) -> None:
    """Those of models, whether or not they still hear that the server has gone, and those that they leave behind."""
    end_s = time.monotonic() + _END_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < end_s:
            _kill(orphan.children() | own)
            while reaped := os.waitpid(-1, os.WNOHANG)[0]:
                own.discard(reaped)  # its number may be anybody's from now on
            time.sleep(_LOOK_S)


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
