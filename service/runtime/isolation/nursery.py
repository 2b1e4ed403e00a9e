"""Starts the cradle, once it is needed, and asks it for children. Knows nothing of what they will run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Sequence

from service.core import interpreter
from service.core.errors import NotReady
from service.runtime.isolation import wire
from service.runtime.isolation.child import Child
from service.runtime.isolation.wire import Gone, Message

_ANSWER_S = 10.0
_TOLD_S = 0.4  # to hear how a child ended
_END_S = 2.0
_UNKNOWN = "unknown"
_TRIES = 3  # the cradle may have been killed, and its heir too
_OURS = ("RETORT_", "OTEL_")
_ENVIRONMENT = {
    # One thread is all that may be there when a process is forked; numpy's libraries start theirs at the import.
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # ONNX Runtime 1.31 keeps a database of telemetry there, telemetry off or not.
    "XDG_CACHE_HOME": os.devnull,
}


class Nursery:
    """Where children come from; used by any thread. The cradle ends with this object, and with this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the cradle: one question at a time
        self._cradle: _Cradle | None = None

    def child(self) -> Child:
        """A process that waits for a model; blocks for some milliseconds, the first time for some hundred.

        Raises:
            NotReady: none can be started now.
        """
        with self._lock:
            for _ in range(_TRIES):
                with contextlib.suppress(Gone, OSError):
                    self._cradle = self._cradle or _Cradle()
                    return self._cradle.child()
                self._drop()
        raise NotReady("no process can be started for the model")

    def ending(self, pid: int) -> str:
        """How a child ended, once it has: by which signal or with which exit code; "unknown" without its cradle.

        Also where nobody can be asked soon: a run is not to wait for it, for its engine would be given up.
        """
        if not self._lock.acquire(timeout=_TOLD_S):
            return _UNKNOWN
        try:
            return _ending(self._cradle.status(pid)) if self._cradle is not None else _UNKNOWN
        except Gone:
            self._drop()
            return _UNKNOWN
        finally:
            self._lock.release()

    def _drop(self) -> None:
        if self._cradle is not None:
            self._cradle.kill()  # at once: one that hangs would end its children when it is back, and they are in use
            self._cradle.end()
            self._cradle = None


class _Cradle:
    """The process that children are forked from."""

    def __init__(self) -> None:
        self._socket, theirs = wire.pair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - this very interpreter, and a number
                interpreter.command("service.runtime.isolation.cradle", theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is for the server
            )
        self.kill = process.kill
        self.end = weakref.finalize(self, _end, process, self._socket)

    def child(self) -> Child:
        """Forks one. Raises Gone: it cannot."""
        ours, theirs = wire.pair()
        try:
            answer, handles = self._asked({}, [theirs.fileno()])
            if not handles:
                raise Gone("there is no descriptor left to hold it by")
        except Gone:
            ours.close()
            raise
        finally:
            theirs.close()
        return Child(answer["pid"], handles[0], ours)

    def status(self, pid: int) -> object:
        """What waitpid said of a child that has ended; None where that is forgotten. Raises Gone."""
        return self._asked({"ended": pid}, within_s=_TOLD_S)[0].get("status")

    def _asked(
        self, message: Message, descriptors: Sequence[int] = (), within_s: float = _ANSWER_S
    ) -> tuple[Message, list[int]]:
        wire.send(self._socket, message, descriptors)
        if not wire.readable(self._socket, within_s):
            raise Gone("the cradle hangs")
        return wire.receive(self._socket)


def _ending(status: object) -> str:
    if not isinstance(status, int):
        return _UNKNOWN
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # of real time, without a name
        return f"signal {-code}"


def _environment() -> dict[str, str]:
    """This process's, without what it is told in confidence: settings, and the headers of a collector of traces."""
    kept = {name: value for name, value in interpreter.environment().items() if not name.startswith(_OURS)}
    return kept | _ENVIRONMENT


def _end(process: subprocess.Popen[bytes], to_it: socket.socket) -> None:
    to_it.close()  # it ends what is left of its children, and then itself
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    process.kill()
    process.wait()
