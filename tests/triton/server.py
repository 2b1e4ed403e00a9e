"""The real tritonserver of the nvidia-pytriton wheel as a process, on this machine's CPU."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import httpx

READY_WITHIN_S = 60.0


class CannotRun(Exception):
    """Why the binary does not run here, as one sentence."""


class TritonServer:
    """One running tritonserver.

    Args:
        venv: holds nvidia-pytriton, and what the Python backend's model imports.
        repository: its models.
        folder: for its log and its backends.
    """

    def __init__(self, venv: Path, repository: Path, folder: Path) -> None:
        self.log_file = folder / "tritonserver.log"
        self.http_port, self.grpc_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._command, self._environment = command_of(venv, repository, folder, self.http_port, self.grpc_port)
        self.start()

    def start(self) -> None:
        """On the ports that it had before, if any; returns when it is ready."""
        with self.log_file.open("ab") as log:
            try:
                self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
            except OSError as error:
                raise CannotRun(f"the binary cannot be started: {error.strerror}") from error
        end_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < end_s:
            if self.process.poll() is not None:
                raise CannotRun(f"it ended with code {self.process.returncode}; its log ends: {self._last_lines()}")
            try:
                if httpx.get(f"{self.url}/v2/health/ready").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        self.kill()
        raise CannotRun(f"it was not ready within {READY_WITHIN_S:g} s; its log ends: {self._last_lines()}")

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Lets it hang: connections stay, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> TritonServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def _last_lines(self) -> str:
        return " | ".join(self.log_file.read_text(errors="replace").splitlines()[-5:])


def command_of(
    venv: Path, repository: Path, folder: Path, http_port: int, grpc_port: int
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment; arranges the backends as the wheel's own launcher does."""
    interpreter = venv / "bin" / "python"
    question = "import sys, sysconfig; print(sysconfig.get_path('purelib'), sysconfig.get_config_var('LIBDIR'), "
    question += "sys.base_prefix + '/lib', '%d.%d' % sys.version_info[:2])"
    if not interpreter.exists():
        raise CannotRun(f"there is no Python in {venv}")
    asked = subprocess.run([interpreter, "-c", question], capture_output=True, text=True, check=True)
    site, *libraries, version = asked.stdout.split()
    home = Path(site) / "pytriton" / "tritonserver"
    binary, stub = home / "bin" / "tritonserver", home / "python_backend_stubs" / version / "triton_python_backend_stub"
    for needed in (binary, stub):
        if not needed.is_file():
            raise CannotRun(f"the wheel in {venv} has no {needed.relative_to(home)}")
    backends = folder / "backends"
    if not backends.exists():
        shutil.copytree(home / "backends", backends)
        shutil.copy(stub, backends / "python")
    command = [str(binary), "--model-repository", str(repository), "--backend-directory", str(backends)]
    command += ["--http-address", "127.0.0.1", "--http-port", str(http_port), "--allow-metrics", "false"]
    command += ["--grpc-address", "127.0.0.1", "--grpc-port", str(grpc_port), "--disable-auto-complete-config"]
    command += ["--model-control-mode", "explicit", "--load-model", "*"]
    command += ["--backend-config", f"python,shm-region-prefix-name=retort{http_port}"]
    environment = {
        "LD_LIBRARY_PATH": ":".join([*libraries, f"{site}/nvidia_pytriton.libs"]),
        "PYTHONPATH": site,
        "PATH": f"{venv.resolve() / 'bin'}:{os.defpath}",
    }
    return command, environment


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
