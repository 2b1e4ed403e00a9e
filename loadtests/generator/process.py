"""The generator's process: pinned to its core, fed with pools and blocks over a pipe, ended with its parent.

One block at a time. What goes wrong in it travels back as an exception; a process that dies is told as one too.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtests.generator.block import OK, Answer, Block, Sent
from loadtests.generator.transport import Opener
from loadtests.pools import Pool
from service.core.orphan import die_with

if TYPE_CHECKING:
    from loadtests.generator.checking import Checker

PREFERRED = -10


class GeneratorDied(RuntimeError):
    """The generator's process ended by itself."""


class Generator:
    """A generator process; a context manager that ends it.

    Args:
        cores: the cores that it may use; none leaves it to the system.
    """

    def __init__(self, cores: Sequence[int] = ()) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, tuple(cores), os.getpid()), daemon=True)
        # Blocked in the child for good, from before its first line on: a Ctrl-C goes to the whole group, as does what
        # some supervisors send, and the parent decides what becomes of a run.
        resource_tracker.ensure_running()  # else it is started within, and lifts the block again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def prepare(self, pools: Mapping[str, Pool]) -> None:
        """Hands over the pools that blocks may name."""
        self._ask(("pools", dict(pools)))

    def send(self, block: Block) -> Sent:
        """Sends a block and waits for the last of its answers.

        Raises:
            GeneratorDied: the process ended.
        """
        return self._ask(("block", block))  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, message: tuple[str, Any]) -> Any:
        try:
            self._pipe.send(message)
            kind, value = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(2)
            raise GeneratorDied(f"the load generator ended with exit code {self._process.exitcode}.") from None
        if kind == "error":
            raise value
        return value


def _main(pipe: Pipe, cores: tuple[int, ...], parent_pid: int) -> None:
    """The process: answers each message until the pipe is closed, or its parent is killed in the middle of a block."""
    die_with(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _raise_descriptors()
    if cores:
        os.sched_setaffinity(0, cores)
        # Preferred on the cores that it was given, where that is allowed; elsewhere it would take the server's time.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, PREFERRED)
    pools: dict[str, Pool] = {}
    gc.disable()
    while True:
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if kind == "pools":
                pools.update(value)
                pipe.send(("done", None))
            else:
                pipe.send(("sent", _send(pools[value.pool], value)))
        except BrokenPipeError:  # the parent was interrupted, and waits for this block no more
            return
        except Exception as error:
            pipe.send(("error", error))
        gc.collect()  # between blocks only


def _raise_descriptors() -> None:
    """As many as the system allows: each connection takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _send(pool: Pool, block: Block) -> Sent:
    import uvloop  # noqa: PLC0415

    from loadtests.generator.checking import Checker  # noqa: PLC0415
    from loadtests.generator.sender import Sender  # noqa: PLC0415

    sender = Sender(pool.address, pool.requests, block, _opener(pool))
    sent = uvloop.run(sender.run())
    checker = Checker(pool)
    for at in np.flatnonzero(sent.status == OK):
        answer = sender.answers[at]
        if answer is not None:
            sent.checked[at], sent.classes[at] = checker.check(answer, int(sent.rows[at]))
    return sent if pool.version or pool.versions else _named(sent, sender.answers, checker)


def _named(sent: Sent, answers: Sequence[Answer | None], checker: Checker) -> Sent:
    """The block with the version that gave each answer."""
    versions: dict[str, int] = {}
    answered = np.full(len(answers), -1, np.int16)
    for at in np.flatnonzero(sent.status == OK):
        answer = answers[at]
        name = "" if answer is None else checker.answered_by(answer, int(sent.rows[at]))
        if name:
            answered[at] = versions.setdefault(name, len(versions))
    return replace(sent, answered=answered, versions=tuple(versions))


def _opener(pool: Pool) -> Opener:
    if pool.protocol == "grpc":
        from loadtests.generator.grpc_transport import with_metadata  # noqa: PLC0415

        return with_metadata(pool.metadata, pool.tls)
    from loadtests.generator.http_transport import over  # noqa: PLC0415

    return over(pool.tls)
