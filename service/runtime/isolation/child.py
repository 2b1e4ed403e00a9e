"""A model's process, as the server sees it: told what to load and what to run, believed in nothing.

Owned by one runner. `run` by one thread at a time; `kill` and `stop` by any.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from os import close
from typing import Any

from service.core.contract import DTYPES, Array, Arrays, TensorSpec
from service.core.errors import (
    BadInput,
    BadModel,
    DoesNotFit,
    ProviderMissing,
    RetortError,
    RunFailed,
    Stuck,
    Unavailable,
)
from service.runtime import memory, processor_time
from service.runtime.isolation import wire
from service.runtime.isolation.recipe import Recipe
from service.runtime.isolation.wire import Gone, MemoryFile, Message
from service.runtime.providers import ORT_NAMES
from service.runtime.signature import Signature

KILL_AFTER_S = 0.5
_LOOK_S = 0.05
_DEATH_S = 1.0  # at most; that of a process of some gigabytes takes a fraction
_MOST_CHARACTERS = 1000
_ERRORS: Mapping[str, type[RetortError]] = {
    error.__name__: error for error in (BadInput, BadModel, DoesNotFit, ProviderMissing, RunFailed, Stuck, Unavailable)
}


class Child:
    """One process; blank until `load`.

    Args:
        pid: its number, for looking at it.
        handle: pidfd, which never names another process; closed with this object.
        server: the socket to it.

    Attributes:
        signature: what it takes and gives, once loaded.
        provider: what it runs on, once loaded.
    """

    def __init__(self, pid: int, handle: int, server: socket.socket) -> None:
        self.pid = pid
        self.provider = ""
        self.signature = Signature((), (), ())
        self._handle = handle
        self._close_handle = weakref.finalize(self, close, handle)
        self._ending = threading.Lock()  # guards the handle: once closed its number may be another process's
        self._server = server
        self._server.setblocking(False)  # nothing here waits for one that does not read, nor for one that is gone
        self._lifeline, self._lifeline_there = wire.pair()  # held by this process, for as long as it lives
        self._stops, self._stops_there = wire.pair()
        self._stops.setblocking(False)
        self._inputs = MemoryFile.new("retort-inputs")
        self._outputs = MemoryFile.new("retort-outputs")
        self._number = 0
        self._stop_number = 0  # of the run that is to end
        self._memory_bytes = 0

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._close_handle.alive

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.closed and not self._ended_within(0)

    @property
    def resident_bytes(self) -> int:
        """Its memory now, what it shares with the cradle included; 0 once it has ended."""
        try:
            return memory.resident_bytes(pid=self.pid) if self.alive else 0
        except (OSError, ValueError):
            return 0

    @property
    def used_s(self) -> float:
        """Processor time that it has taken so far; 0 once it has ended."""
        try:
            return processor_time.used_s(self.pid) if self.alive else 0.0
        except OSError:
            return 0.0

    def load(self, recipe: Recipe, device_id: int, given_up: Callable[[], bool]) -> None:
        """Has it build the session; blocks, and asks `given_up` meanwhile.

        Raises:
            BadModel, DoesNotFit, ...: as `OnnxRunner.load`.
            Stuck: it was given up; the process is dead then.
            Gone: it died.
        """
        self._memory_bytes = recipe.memory_bytes or memory.available_bytes()
        order = {"memory_bytes": self._memory_bytes, "device_id": device_id}
        theirs = (self._lifeline_there, self._stops_there)
        files = (recipe.file, self._inputs, self._outputs)
        descriptors = [*(sock.fileno() for sock in theirs), *(file.descriptor for file in files)]
        wire.send(self._server, order, descriptors)
        for sock in theirs:
            sock.close()
        while not self._spoke_within(_LOOK_S):
            if given_up():
                self.close()
                raise Stuck("the load was cancelled")
        answer = self._heard()
        self.signature = _signature(answer.get("ready"))
        self.provider = str(answer["ready"].get("provider"))
        if self.provider not in ORT_NAMES:
            raise Gone("it runs on something of its own")

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """Runs it; blocks. Ended by `stop`, which is first a wish and then the end of the process.

        Raises:
            BadInput, RunFailed: the version failed on them.
            Stuck: it was stopped.
            Gone: it died, or answered what no such version would.
        """
        self._number += 1
        try:
            inputs = self._inputs.write(arrays)
            if sum(size for _, _, _, size in inputs) > self._memory_bytes:
                raise MemoryError
            message = {"run": self._number, "inputs": inputs, "limit_bytes": self._memory_bytes}
            wire.send(self._server, message)
            self._wait()
            answer = self._heard()
            if answer.get("run") != self._number:
                raise Gone("it answered another run")
            return self._read(answer.get("outputs"))
        except PermissionError:
            raise Gone("it sealed the files that are shared") from None
        except (OSError, MemoryError):
            raise RunFailed("there is not enough memory for this run") from None
        finally:
            for file in (self._inputs, self._outputs):
                with contextlib.suppress(OSError):  # sealed, which the next run finds
                    file.shrink()

    def stop(self) -> None:
        """Asks it to end the run in flight; returns at once. It is killed if it has not obeyed within half a second."""
        number = self._number
        if self._stop_number != number:
            self._stop_number = number
            with contextlib.suppress(Gone):
                wire.send(self._stops, {"run": number})

    def kill(self) -> None:
        """Ends it now, whatever it does."""
        with self._ending, contextlib.suppress(OSError):
            if not self.closed:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Ends it and lets everything go that belongs to it; its memory is free then."""
        if not self.closed:
            self.kill()
            self._ended_within(_DEATH_S)
            with self._ending:
                self._close_handle()
        for sock in (self._server, self._stops, self._stops_there, self._lifeline, self._lifeline_there):
            sock.close()
        self._inputs.close()
        self._outputs.close()

    def _ended_within(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def _spoke_within(self, timeout_s: float) -> bool:
        """Whether it said something, or has ended: its end is not to be heard where what it started has its sockets."""
        return wire.readable(self._server, timeout_s, self._handle)

    def _wait(self) -> None:
        while not self._spoke_within(KILL_AFTER_S):
            if self._stop_number == self._number and not self._spoke_within(KILL_AFTER_S):
                self.kill()

    def _heard(self) -> Message:
        """Its answer; raises the error that it is."""
        answer, descriptors = wire.receive(self._server)
        for descriptor in descriptors:
            close(descriptor)
        match answer.get("error"):
            case None:
                return answer
            case [str(kind), str(sentence)]:
                raise _raised(kind, sentence)
        raise Gone("it failed in words of its own")

    def _read(self, described: Any) -> dict[str, Array]:
        if self._outputs.is_large and self._outputs.size_bytes > memory.available_bytes():
            raise MemoryError  # what the process was allowed to take when it started may be gone since
        arrays = self._outputs.read(described, self._memory_bytes)
        if [(name, array.dtype) for name, array in arrays.items()] != [
            (spec.name, spec.dtype) for spec in self.signature.outputs
        ]:
            raise Gone("it answered other outputs than it has")
        return arrays


def _raised(kind: str, sentence: str) -> RetortError:
    if kind not in _ERRORS:
        raise Gone("it failed in a way that there is not")
    return _ERRORS[kind]("".join(one for one in sentence[:_MOST_CHARACTERS] if one.isprintable()))


def _signature(said: Any) -> Signature:
    match said:
        case {"inputs": list(inputs), "outputs": [_, *_] as outputs, "omitted_outputs": list(omitted)}:
            names = tuple(name for name in omitted if isinstance(name, str))
            return Signature(tuple(map(_spec, inputs)), tuple(map(_spec, outputs)), names)
    raise Gone("it described no signature")


def _spec(said: Any) -> TensorSpec:
    match said:
        case {"name": str(name), "datatype": str(datatype), "dims": list(dims)} if datatype in DTYPES:
            if all(dim is None or isinstance(dim, str) or type(dim) is int for dim in dims):
                return TensorSpec(name, datatype, tuple(dims))
    raise Gone("it described no tensor")
