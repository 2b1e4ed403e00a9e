"""`retort serve` as a process of its own, on a free port, with its log kept."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

READY = re.compile(r"retort (?:not )?ready: (https?://\S+?:(\d+)) (?:grpcs?://(\S+?:\d+) )?")


class ServerProcess:
    """One running server; leaves with the `with` block, which fails where it has ended and nobody has asked.

    Args:
        arguments: after `retort serve`; the port is a free one unless given.
        folder: for its log and its state.
        env: more environment variables.
        core: pins the server to this core; None leaves it free.
        program: the module that is run, and what comes before `serve`.
        ca: the authority of its certificate, where it has one.
        within: what starts it, such as a script that takes its command and changes the namespace first.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        core: int | None = None,
        program: Sequence[str] = ("service",),
        ca: Path | None = None,
        within: Sequence[str] = (),
        ready_timeout_s: float = 60.0,
    ) -> None:
        self.log_file = folder / f"server-{time.monotonic_ns()}.log"
        command = [
            *within,
            sys.executable,
            "-m",
            *program,
            "serve",
            "--http-port",
            "0",
            "--grpc-port",
            "0",
            "--state-dir",
            str(folder / "state"),
        ]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("RETORT_", "COVERAGE_"))}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**clean, **(env or {})},
                text=True,
                # Linux shares cores out among sessions: in ours, a generator of high priority on its own core would
                # leave the server next to nothing of another core that other sessions use too.
                start_new_session=core is not None,
            )
        if core is not None and core in os.sched_getaffinity(0):
            os.sched_setaffinity(self.process.pid, {core})
        self.url, self.grpc = self._wait_ready(ready_timeout_s)
        self.port = int(self.url.rsplit(":", 1)[1])
        self.http = httpx.Client(
            base_url=self.url, timeout=30, verify=True if ca is None else ssl.create_default_context(cafile=ca)
        )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        assert self.process.stdout is not None
        noticed = self.process.returncode is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        elif not noticed:
            raise AssertionError(f"the server has ended by itself: {self.process.returncode}\n{self.log()[-4000:]}")
        self.process.stdout.close()

    def terminate(self, timeout_s: float = 20.0) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def resident_bytes(self) -> int:
        """Resident memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text(errors="replace")

    def _wait_ready(self, timeout_s: float) -> tuple[str, str]:
        assert self.process.stdout is not None
        too_late = threading.Timer(timeout_s, self.process.kill)
        too_late.start()
        line = self.process.stdout.readline()  # ends when the line is there or the process is gone
        too_late.cancel()
        found = READY.search(line)
        if found is None:
            self.kill()
            self.process.stdout.close()
            raise RuntimeError(f"no ready line within {timeout_s} s: {line!r}\n{self.log()[-4000:]}")
        return found[1], found[3] or ""
