"""What a model's process does: bounds itself, builds the session from bytes, then runs what it is told, one at a time.

It has no descriptor but those that it is handed, and ends with the server, in the middle of a run as well.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from service.core.confine import confine, confine_files
from service.core.errors import DoesNotFit, RetortError, RunFailed
from service.runtime.isolation.wire import Gone, MemoryFile, Message, readable, receive, send
from service.runtime.trial_job import read_job

if TYPE_CHECKING:
    from service.core.contract import TensorSpec
    from service.runtime.onnx import OnnxRunner

_FEW_DESCRIPTORS = 256  # CUDA opens dozens
_MOST_CHARACTERS = 1000
_TOO_LITTLE = "there is not enough memory to load this version"


def main(server: socket.socket) -> NoReturn:
    """Serves one model until the server closes its end; never returns into the cradle."""
    try:
        _serve(server)
    finally:
        os._exit(1)  # as on SIGKILL: nothing of the cradle's is to be cleaned up, and no thread to be waited for


def _serve(server: socket.socket) -> None:
    order, descriptors = receive(server)
    lifeline, stops, model, inputs, outputs = descriptors
    _end_with(lifeline)
    _close_all_but(0, 1, 2, server.fileno(), *descriptors)
    confine(order["memory_bytes"])
    confine_files(order["memory_bytes"], _FEW_DESCRIPTORS)
    try:
        runner = _load(model, order["device_id"])
    except (RetortError, MemoryError) as error:
        send(server, _error(error if isinstance(error, RetortError) else DoesNotFit(_TOO_LITTLE)))
        return
    os.close(model)
    specs = {side: [_said(spec) for spec in getattr(runner, side)] for side in ("inputs", "outputs")}
    _Runs(runner, server, socket.socket(fileno=stops), MemoryFile(inputs), MemoryFile(outputs)).serve(
        {"ready": {**specs, "omitted_outputs": runner.omitted_outputs, "provider": runner.provider}}
    )


def _end_with(lifeline: int) -> None:
    """Has the kernel kill this process, and its group, once nobody holds the other end, on which nothing is ever sent.

    Not PR_SET_PDEATHSIG: that is the parent's death, and one of the cradle is to cost no run.
    """
    os.setpgid(0, 0)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if readable(lifeline, 0):
        raise Gone("the server ended before it could be watched")


def _load(model: int, device_id: int) -> OnnxRunner:
    # Only now: it starts a thread, and a process with threads is not to be forked.
    from service.runtime.onnx import OnnxRunner  # noqa: PLC0415

    with open(f"/proc/self/fd/{model}", "rb") as file:  # a place of its own in a file that other children read too
        job = read_job(file)
    return OnnxRunner.load(job.onnx, job.external, replace(job.options, device_id=device_id))


class _Runs:
    """Runs of one runner.

    Args:
        runner: loaded.
        server: brings runs, takes answers.
        stops: brings the number of a run that is to end.
        inputs: what runs read.
        outputs: what they write.
    """

    def __init__(
        self, runner: OnnxRunner, server: socket.socket, stops: socket.socket, inputs: MemoryFile, outputs: MemoryFile
    ) -> None:
        self._runner = runner
        self._server = server
        self._stops = stops
        self._inputs = inputs
        self._outputs = outputs
        self._lock = threading.Lock()  # guards _number, so that a stop that comes late hits no other run
        self._number = 0

    def serve(self, greeting: Message) -> None:
        """Until the server is gone."""
        threading.Thread(target=self._hear_stops, name="stops", daemon=True).start()
        send(self._server, greeting)
        while True:
            message, _ = receive(self._server)
            send(self._server, self._answer(message))

    def _answer(self, message: Message) -> Message:
        with self._lock:
            self._number = message["run"]
        try:
            feeds = self._inputs.read(message["inputs"], message["limit_bytes"])
            outputs = self._runner.run(feeds)
            with self._lock:
                self._number = 0
            return {"run": message["run"], "outputs": self._outputs.write(outputs)}
        except (RetortError, MemoryError, OSError) as error:
            return {"run": message["run"], **_error(error)}

    def _hear_stops(self) -> None:
        while True:
            try:
                message, _ = receive(self._stops)
            except Gone:
                return
            with self._lock:
                if message["run"] == self._number:
                    self._runner.stop()


def _error(error: Exception) -> Message:
    """An error of ours by its name; for want of memory where it is none."""
    if not isinstance(error, RetortError):
        error = RunFailed("there is not enough memory for this run")
    return {"error": [type(error).__name__, str(error)[:_MOST_CHARACTERS]]}


def _close_all_but(*kept: int) -> None:
    """Closes every other descriptor: whatever the cradle had is none of a model's business."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own, closed already


def _said(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "dims": spec.dims}
