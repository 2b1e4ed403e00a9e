"""Starts the cradle, once it is needed, and asks it for children. Knows nothing of what they will run."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading

from service.core.errors import BadModel, NotReady
from service.runtime import interpreter
from service.runtime.isolation import wire
from service.runtime.isolation.child import Child
from service.runtime.isolation.wire import Gone

_ANSWER_S = 10.0
_TRIES = 2
# One thread is all that may be there when a process is forked; numpy's libraries start theirs at the import.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Nursery:
    """Where children come from; used by any thread. The cradle ends with this process, or with `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the cradle: one question at a time
        self._cradle: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def child(self) -> Child:
        """A process that waits for a model; blocks for some milliseconds, for about half a second the first time.

        Raises:
            BadModel: this system has no such processes.
            NotReady: none can be started now.
        """
        if not hasattr(os, "pidfd_open") or not hasattr(os, "memfd_create"):
            raise BadModel("'isolation' needs Linux, and this is another system")
        with self._lock:
            for _ in range(_TRIES):
                with contextlib.suppress(Gone, OSError):
                    return self._ask()
                self._drop()
        raise NotReady("no process can be started for the model")

    def close(self) -> None:
        """Ends the cradle, and with it whatever children are left."""
        with self._lock:
            self._drop()

    def _ask(self) -> Child:
        cradle = self._socket or self._start()
        ours, theirs = wire.pair()
        with theirs:
            wire.send(cradle, {}, [theirs.fileno()])
        if not wire.readable(cradle, _ANSWER_S):
            raise Gone("the cradle hangs")
        answer, [handle] = wire.receive(cradle)
        return Child(answer["pid"], handle, ours)

    def _start(self) -> socket.socket:
        ours, theirs = wire.pair()
        with theirs:
            self._cradle = subprocess.Popen(  # noqa: S603 - this very interpreter, and a number
                interpreter.command("service.runtime.isolation.cradle", theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=interpreter.environment() | _ONE_THREAD,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is for the server
            )
        self._socket = ours
        return ours

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._cradle is not None:
            self._cradle.kill()
            self._cradle.wait()
            self._cradle = None
