"""`retort` whose models' processes turn against it, as code that took one over would: by a file in a folder.

`python -m tests.support.hostile_models FOLDER serve ...`. The file is called as the first input of the model whose
process is to turn, and holds the name of a deed, one of those below; without it the process is well. A deed is done
inside the process that the server trusts least, at its next run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.cli.command_line import main
from service.core import interpreter
from service.runtime.isolation import cradle, inside, wire
from service.runtime.isolation.wire import Message

FOLDER = "HOSTILE_FOLDER"
NEVER_LOADS = "never loads"
DIES = "dies"  # at its next run
_CRADLE = "service.runtime.isolation.cradle"
_HOUR_S = 3600


class Turned(inside._Runs):
    """A process that does as the file says."""

    def serve(self, greeting: Message) -> None:
        """As any process, unless it is to load for ever."""
        if self._deed() == NEVER_LOADS:
            time.sleep(_HOUR_S)
        super().serve(greeting)

    def _answer(self, message: Message) -> Message:
        if self._deed() == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        deed = DEEDS.get(self._deed())
        answer = super()._answer(message)
        return answer if deed is None else deed(self, message, answer)

    def _deed(self) -> str:
        try:
            return (Path(os.environ[FOLDER]) / self._runner.inputs[0].name).read_text()
        except OSError:
            return ""


Deed = Callable[[Turned, Message, Message], Message]


def _child_beside(*, apart: bool) -> None:
    """Leaves a process behind that has all that this one has."""
    if os.fork() == 0:
        if apart:
            os.setsid()
        while True:
            time.sleep(_HOUR_S)


def forks(_turned: Turned, _message: Message, answer: Message) -> Message:
    """Leaves one behind, and is well."""
    _child_beside(apart=True)
    return answer


def forks_and_dies(_turned: Turned, _message: Message, _answer: Message) -> Message:
    """Leaves one behind, that holds its sockets, and ends."""
    _child_beside(apart=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def forks_and_hangs(_turned: Turned, _message: Message, _answer: Message) -> Message:
    """Leaves one behind, that holds its sockets, and answers nothing."""
    _child_beside(apart=True)
    time.sleep(_HOUR_S)
    raise AssertionError


def floods(turned: Turned, _message: Message, _answer: Message) -> Message:
    """Sends for as long as anybody reads."""
    while True:
        turned._server.send(os.urandom(1 << 10))


def answers_ahead(turned: Turned, message: Message, answer: Message) -> Message:
    """Answers all that could ever be asked, and reads nothing."""
    for number in range(message["run"], message["run"] + 1_000_000):
        wire.send(turned._server, {**answer, "run": number})
    raise AssertionError


def answers_twice(turned: Turned, _message: Message, answer: Message) -> Message:
    """Says each thing two times."""
    wire.send(turned._server, answer)
    return answer


def never_answers(_turned: Turned, _message: Message, _answer: Message) -> Message:
    """Waits."""
    time.sleep(_HOUR_S)
    raise AssertionError


def stops_itself(_turned: Turned, _message: Message, answer: Message) -> Message:
    """Stands still, the whole process."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return answer


def announces_much(_turned: Turned, message: Message, _answer: Message) -> Message:
    """Tells of a tensor that nobody could hold."""
    return {"run": message["run"], "outputs": [["y", "FP32", [1 << 40, 1 << 20], 1 << 62]]}


def holds_a_hole(turned: Turned, message: Message, _answer: Message) -> Message:
    """Announces all that it may, over a file that takes no memory."""
    size = message["limit_bytes"] // 4 * 4
    os.ftruncate(turned._outputs.descriptor, size)
    return {"run": message["run"], "outputs": [["y", "FP32", [1, size // 4], size]]}


def announces_strange_shapes(_turned: Turned, message: Message, _answer: Message) -> Message:
    """Tells of shapes that no tensor has."""
    return {"run": message["run"], "outputs": [["y", "FP32", [0, 2**64 - 1], 0]]}


def answers_other_shapes(turned: Turned, message: Message, _answer: Message) -> Message:
    """Answers one row more than it was asked."""
    return {"run": message["run"], "outputs": turned._outputs.write({"y": np.ones((77, 3), np.float32)})}


def answers_stuck(_turned: Turned, message: Message, _answer: Message) -> Message:
    """Says that it was stopped, which it was not."""
    return {"run": message["run"], "error": ["Stuck", "so it is"]}


def writes_on(turned: Turned, _message: Message, answer: Message) -> Message:
    """Goes on writing into what it answered, for as long as it is turned."""

    numbers = [bytes(octet & 0x3F for octet in os.urandom(64)) for _ in range(16)]  # none of those that JSON lacks

    def write() -> None:
        while turned._deed() == "writes on":
            for octets in numbers:
                os.pwrite(turned._outputs.descriptor, octets, 0)
                os.pwrite(turned._inputs.descriptor, octets, 0)

    threading.Thread(target=write, daemon=True).start()
    return answer


def shortens(turned: Turned, _message: Message, answer: Message) -> Message:
    """Goes on shortening what it answered, for as long as it is turned."""

    def shorten() -> None:
        while turned._deed() == "shortens":
            os.ftruncate(turned._outputs.descriptor, 0)
            os.ftruncate(turned._outputs.descriptor, 1 << 16)

    threading.Thread(target=shorten, daemon=True).start()
    return answer


def takes_memory(_turned: Turned, _message: Message, answer: Message) -> Message:
    """Fills files in memory, of which each is as large as it may be, until there are no descriptors."""
    for _ in range(20):
        held = os.memfd_create("hoard")
        os.pwrite(held, bytes(16 << 20), 0)
    return answer


def lets_go_of_its_lifeline(turned: Turned, _message: Message, answer: Message) -> Message:
    """Closes every socket but the one that it answers on, and is well."""
    for one in Path("/proc/self/fd").iterdir():
        kept = one.name == str(turned._server.fileno())
        if not kept and one.is_symlink() and os.readlink(one).startswith("socket:"):
            os.close(int(one.name))
    return answer


DEEDS: Mapping[str, Deed] = {
    deed.__name__.replace("_", " "): deed
    for deed in (
        forks,
        forks_and_dies,
        forks_and_hangs,
        floods,
        answers_ahead,
        answers_twice,
        never_answers,
        stops_itself,
        announces_much,
        holds_a_hole,
        announces_strange_shapes,
        answers_other_shapes,
        answers_stuck,
        writes_on,
        shortens,
        takes_memory,
        lets_go_of_its_lifeline,
    )
}


def _hostile_command(command: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Starts this module in place of the cradle."""

    def turned(module: str, *arguments: Any) -> list[str]:
        return command("tests.support.hostile_models" if module == _CRADLE else module, *arguments)

    return turned


if __name__ == "__main__":
    if len(sys.argv) == 2:  # the cradle: its socket's number
        inside._Runs = Turned  # type: ignore[misc]
        cradle.main(sys.argv[1:])
    os.environ[FOLDER] = sys.argv.pop(1)
    interpreter.command = _hostile_command(interpreter.command)
    sys.exit(main())
