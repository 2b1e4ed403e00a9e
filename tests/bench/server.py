"""A server under measurement: a process on the first core, and the processor time that it takes of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

SECONDS = 1.0


class Server:
    """A process that says its address when it is ready.

    Args:
        command: what is run.
        pinned: whether it has the first core alone, in place of all.

    Attributes:
        port: of HTTP.
        grpc_port: of gRPC; that of HTTP where it has none.
        ready_s: how long it took to be ready.
    """

    def __init__(self, command: list[str], *, pinned: bool = True) -> None:
        began_s = time.monotonic()
        self._process = psutil.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )
        if pinned:
            self._process.cpu_affinity([first_core()])
        told = self._process.stdout.readline()
        self.ready_s = time.monotonic() - began_s
        ports = re.findall(r"[\d.]+:(\d+)", told)
        if not ports:
            raise SystemExit(f"no server: {told!r}")
        self.port, self.grpc_port = ports[0], ports[-1]

    def cost_us(
        self,
        form: str,
        connections: int,
        *,
        models: int = 1,
        idle: int = 0,
        seconds: float = SECONDS,
        resting: float = 0.0,
    ) -> float:
        """Microseconds of processor time for each answer to clients in a closed loop.

        Args:
            form: of the requests; "grpc" for calls, of one model, all on one connection.
            connections: that ask.
            models: that are asked in turn.
            idle: connections beside, that have asked once and rest.
            seconds: for so long.
            resting: share of a core that it takes in any case, and that is no request's.
        """
        asked = ["tests.bench.load", self.port, str(connections), str(seconds), form]
        asked += ["--models", str(models), "--idle", str(idle)]
        if form == "grpc":
            asked = ["tests.bench.grpc_load", self.grpc_port, str(connections), str(seconds)]
        number, taken_s = answers(asked, lambda: self.taken_s() - resting * time.monotonic())
        return taken_s / number * 1e6

    def close(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(20)
        self._process.stdout.close()

    def taken_s(self) -> float:
        """Processor time so far, without that of processes that it started."""
        taken = self._process.cpu_times()
        return float(taken.user + taken.system)

    def taken_by_children_s(self) -> float:
        """Processor time of processes that it started and that have ended."""
        taken = self._process.cpu_times()
        return float(taken.children_user + taken.children_system)

    def resident_bytes(self) -> int:
        """Memory that is its own."""
        return int(self._process.memory_full_info().uss)

    def threads(self) -> int:
        """How many it has."""
        return int(self._process.num_threads())


def ours(repository: Path, state: Path, *, pinned: bool = True, provider: str = "auto") -> Server:
    """The service over a repository."""
    asked = ["--repository", str(repository), "--state-dir", str(state), "--http-port", "0", "--grpc-port", "0"]
    asked += ["--provider", provider]
    return Server([sys.executable, "-m", "service", "serve", *asked], pinned=pinned)


def answers(asked: list[str], gauge: Callable[[], float] = time.monotonic) -> tuple[int, float]:
    """What clients get, in a process of their own on the last core.

    Args:
        asked: their module and its arguments.
        gauge: read when all are connected, and when the last was answered.

    Returns:
        How many answers there were, and how far `gauge` went meanwhile.
    """
    begun = psutil.Popen([sys.executable, "-m", *asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    begun.cpu_affinity([last_core()])
    with begun:
        begun.stdout.readline()  # all are connected
        before = gauge()
        begun.stdin.write("\n")
        begun.stdin.flush()
        told = begun.stdout.readline()
        went = gauge() - before
    if begun.returncode:
        raise SystemExit(f"the clients ended with {begun.returncode}")
    return int(told), went


def first_core() -> int:
    """Of those that this process may use."""
    return min(os.sched_getaffinity(0))


def last_core() -> int:
    """The clients', so that the first is left to the servers."""
    return max(os.sched_getaffinity(0))
