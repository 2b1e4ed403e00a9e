"""Runs one function in several processes that train together, and says which of them died if one does.

    launch(2, "package.module:function", {"folder": "work"})

starts the processes by torch's own launcher (the one behind `torchrun`) on this machine alone: they meet on loopback,
over gloo on CPUs and nccl where every process has a GPU. By hand the same is
`torchrun --standalone --nproc-per-node 2 -m models.train.launch MODULE:FUNCTION ARGUMENTS-AS-JSON`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from service.core import interpreter

STUCK_S = 300.0
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
# Exit codes of a process that ends for another's sake, and their reasons.
_INTERRUPTED = 130
_LOST = 75
_WAITED = 76


class RankDied(RuntimeError):
    """A process that trains with others ended before its time; the message names it and says how."""


def launch(processes: int, entry: str, arguments: Mapping[str, Any], *, stuck_s: float = STUCK_S) -> None:
    """Runs `entry(**arguments)` in each of some processes, and returns when all are through.

    A process that dies ends the others within seconds. SIGINT and SIGTERM reach all of them. Call it from the main
    thread.

    Args:
        processes: at least 1, all on this machine.
        entry: "module:function"; what it makes it leaves in files.
        arguments: what JSON can hold.
        stuck_s: after which a process that others wait for counts as dead.

    Raises:
        RankDied: one of them died or raised.
        KeyboardInterrupt: they were interrupted, and each has saved what it could.
    """
    if processes < 1:
        raise ValueError(f"{processes} processes cannot train; it takes at least 1.")
    _entry(entry)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=10,
    )
    settings = {
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "RETORT_STUCK_S": str(stuck_s),
        "PYTHONPATH": interpreter.environment()["PYTHONPATH"],
    }
    with _environment(settings), _quiet(), _handlers():
        try:
            _, *module = interpreter.command(__name__)
            elastic_launch(config, sys.executable)(*module, entry, json.dumps(dict(arguments)))
        except ChildFailedError as error:
            failures = error.failures
        except SignalException as error:
            raise KeyboardInterrupt from error
        else:
            return
    if all(failure.exitcode == _INTERRUPTED for failure in failures.values()):
        raise KeyboardInterrupt
    raise RankDied(_sentence(failures, processes))


@contextmanager
def group(stuck_s: float = STUCK_S) -> Iterator[None]:
    """The process group of a process that `torchrun` or `launch` started, with one thread, and its GPU if it has one.

    Raises:
        KeyError: nothing launched this process.
    """
    local = int(os.environ["LOCAL_RANK"])
    on_gpus = torch.cuda.device_count() >= int(os.environ["LOCAL_WORLD_SIZE"])
    if on_gpus:
        torch.cuda.set_device(local)
    torch.set_num_threads(1)
    dist.init_process_group("nccl" if on_gpus else "gloo", timeout=timedelta(seconds=stuck_s))
    try:
        yield
    finally:
        dist.destroy_process_group()


def _sentence(failures: Mapping[int, ProcessFailure], processes: int) -> str:
    """Names the process that failed by itself, if it is known: the others only noticed that it was gone."""
    codes = {rank: failures[rank].exitcode for rank in sorted(failures)}
    killed = {rank: code for rank, code in codes.items() if code < 0 and code != -signal.SIGTERM}
    raised = {rank: code for rank, code in codes.items() if code > 0 and code not in (_LOST, _WAITED)}
    rank, code = next(iter((killed or raised or codes).items()))
    if killed and _WAITED in codes.values():
        how = "did not answer the others in time and was ended"
    elif code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"ended with exit code {code}; what it raised stands above"
    return f"Rank {rank} of {processes} {how}. Start again with the same checkpoint to go on."


@contextmanager
def _quiet() -> Iterator[None]:
    """Mutes the launcher's log, which says in ten lines what `RankDied` says in one."""
    log = logging.getLogger("torch.distributed.elastic")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _handlers() -> Iterator[None]:
    """Puts signal handlers back: torch's launcher leaves its own, and a later Ctrl-C would be a traceback of its."""
    numbers = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _entry(name: str) -> Callable[..., None]:
    module, _, function = name.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    return found


def _end_with(parent: int) -> None:
    """Ends this process when the one that started it is gone, as a kill of the launcher would leave it running."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """What each process runs: `entry` and its arguments as JSON, from the command line."""
    entry, arguments = sys.argv[1:3]
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        with group(float(os.environ.get("RETORT_STUCK_S", STUCK_S))):
            _entry(entry)(**json.loads(arguments))
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except RuntimeError as error:
        told = str(error)
        if not isinstance(error, dist.DistError) and "gloo" not in told:
            raise
        rank = os.environ["RANK"]
        sys.stderr.write(f"Rank {rank} ends, as another is gone: {told.splitlines()[0]}\n")
        sys.exit(_WAITED if "timed out" in told.lower() else _LOST)


if __name__ == "__main__":
    main()
