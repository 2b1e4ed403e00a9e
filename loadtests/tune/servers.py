"""Servers of one's own for the candidates: each a `retort serve` on a copy of the model's folder, on free ports.

A copy, because the server takes no links; only the model.yaml differs. They leave with the `with` block, and a Ctrl-C
of the terminal does not reach them before that; a second one ends the waiting for them. Where this process is killed
they die with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from loadtests.server import CannotLoad, Server

READY_TIMEOUT_S = 120.0
END_TIMEOUT_S = 20.0
_STARTED = re.compile(r"retort (?:not )?ready: (http://\S+?:\d+) ")


class Servers:
    """Starts servers of one model; a context manager that ends them all.

    Args:
        model: folder of the model, in its repository.
        cores: that the servers may use; none leaves it to the system.
    """

    def __init__(self, model: Path, cores: Sequence[int]) -> None:
        self._model = model
        self._cores = tuple(cores)
        self._folder = tempfile.TemporaryDirectory(prefix="retort-tune-")
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._started = 0

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for process in self._running.values():
                process.terminate()
            for url in tuple(self._running):
                self.end(url)
        finally:  # whoever is left was waited for when a second Ctrl-C came
            for url in tuple(self._running):
                self._kill(url)
            self._folder.cleanup()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of those that run."""
        return tuple(process.pid for process in self._running.values())

    def start(self, model_yaml: str) -> str:
        """The URL of a new server with this model.yaml.

        Raises:
            CannotLoad: it does not get ready; the message is its last words.
        """
        self._started += 1
        home = Path(self._folder.name) / str(self._started)
        shutil.copytree(self._model, home / "repository" / self._model.name)
        (home / "repository" / self._model.name / "model.yaml").write_text(model_yaml, encoding="utf-8")
        process = self._spawn(home)
        self._running[str(home)] = process  # from here on it is ended, whatever happens
        url = _wait_started(process, home / "log")
        del self._running[str(home)]
        self._running[url] = process
        self._check(url)
        return url

    def end(self, url: str) -> None:
        """Ends one of them."""
        process = self._running[url]
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_TIMEOUT_S)
        self._kill(url)

    def _kill(self, url: str) -> None:
        """Of one that has ended it takes leave only."""
        process = self._running[url]
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        del self._running[url]

    def _check(self, url: str) -> None:
        """A server starts without a model that it cannot load; its answer says why."""
        server = Server(url)
        try:
            server.metadata(self._model.name, "")
        finally:
            server.close()

    def _spawn(self, home: Path) -> subprocess.Popen[str]:
        ports = ["--http-port", "0", "--grpc-port", "0", "--host", "127.0.0.1"]
        where = ["--repository", str(home / "repository"), "--state-dir", str(home / "state")]
        launched = [sys.executable, "-m", "loadtests.tune.launch", str(os.getpid()), ",".join(map(str, self._cores))]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RETORT_")}
        with (home / "log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - this interpreter
                [*launched, sys.executable, "-m", "service", "serve", *ports, *where],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=clean,
                start_new_session=True,
            )


def _wait_started(process: subprocess.Popen[str], log: Path) -> str:
    too_late = threading.Timer(READY_TIMEOUT_S, process.kill)
    too_late.start()
    try:
        assert process.stdout is not None  # noqa: S101
        found = _STARTED.search(process.stdout.readline())  # ends when the line is there or the process is gone
    finally:
        too_late.cancel()
    if found is None:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise CannotLoad(f"a server of this configuration does not start: {last[0][:300]}")
    return found[1]
