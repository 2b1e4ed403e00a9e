"""`python -m tests.bench.start [--rounds N] [--keep]`: what a server takes until its first answer, and idle.

In units of a process that imports numpy, ONNX Runtime and FastAPI and runs one session of the same model: less than
that no server of this kind can take. Both are measured in turns, since what the machine does beside it changes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.bench.verdict import Ratio, is_worse, ratio_of

REPOSITORY = Path(__file__).parents[2] / "models" / "repository"
KEPT = Path(__file__).with_name("start.json")
WORSE = 1
NEW, KNOWN, MEMORY = "first answer, new files", "first answer, known files", "idle memory"

_PATIENCE_S = 60.0
_IDLE_S = 1.0  # after the first answer: the other versions are loaded meanwhile
_ROW = json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": [0.0] * 64}]})
_LEAST = """
import sys, time, numpy, onnxruntime, fastapi
with open(sys.argv[1], "rb") as file:
    session = onnxruntime.InferenceSession(file.read(), providers=["CPUExecutionProvider"])
session.run(None, {"image": numpy.zeros((1, 1, 8, 8), numpy.float32)})
"""


class Figures(NamedTuple):
    """Of one process: seconds from its start to its first answer, and resident bytes when nobody asks it anything."""

    first_s: float
    idle_bytes: int


def least(more: str = "") -> Figures:
    """Of imports and a session alone, and of `more` that the program does before it is ready."""
    program = f"{_LEAST}{more}\nprint('ready', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", program, str(REPOSITORY / "digits" / "1" / "model.onnx")]

    def until_ready(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    return _measured(command, until_ready)


def server(state_dir: Path) -> Figures:
    """Of `retort serve` with the shipped models; files are new to it where the state folder is."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, grpc_port = one.getsockname()[1], other.getsockname()[1]
    asked = ["--repository", str(REPOSITORY), "--http-port", str(port), "--grpc-port", str(grpc_port)]
    command = [sys.executable, "-m", "service", "serve", *asked, "--state-dir", str(state_dir)]

    def until_answered(process: subprocess.Popen[bytes]) -> None:
        end_s = time.monotonic() + _PATIENCE_S
        while not _answers(port):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end_s, "the server does not answer"
            time.sleep(0.005)

    return _measured(command, until_answered)


def measure(rounds: int) -> dict[str, Ratio]:
    """Ratios of a server's figures to the least, by their names; a first round warms caches and is left out."""
    found: dict[str, list[tuple[float, float]]] = {NEW: [], KNOWN: [], MEMORY: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            state_dir = Path(folder) / str(number)
            new, floor, known = server(state_dir), least(), server(state_dir)
            if number:
                found[NEW].append((new.first_s, floor.first_s))
                found[KNOWN].append((known.first_s, floor.first_s))
                found[MEMORY].append((known.idle_bytes, floor.idle_bytes))
                told = [f"{each.first_s:.2f} s {each.idle_bytes / 1e6:.0f} MB" for each in (floor, new, known)]
                print("least {}, new files {}, known files {}".format(*told))  # noqa: T201
    return {name: ratio_of(pairs) for name, pairs in found.items()}


def _measured(command: list[str], until_answered: Callable[[subprocess.Popen[bytes]], None]) -> Figures:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled anew each time says nothing of a start
    began_s = time.monotonic()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        until_answered(process)
        first_s = time.monotonic() - began_s
        time.sleep(_IDLE_S)
        return Figures(first_s, psutil.Process(process.pid).memory_info().rss)
    finally:
        process.terminate()
        process.communicate()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("POST", "/v2/models/digits/infer", _ROW, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main() -> int:
    """Measures, prints, and compares with what is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.name} anew")
    options = parser.parse_args()
    kept = {name: Ratio(*ratio) for name, ratio in json.loads(KEPT.read_text()).items()} if KEPT.exists() else {}
    measured = measure(options.rounds)
    worse = [name for name, ratio in measured.items() if name in kept and is_worse(ratio, kept[name])]
    for name, ratio in measured.items():
        was = f", was {kept[name].middle:.2f}" if name in kept else ""
        print(f"{name}: {ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) of the least{was}")  # noqa: T201
    if options.keep:
        lines = [f"  {json.dumps(name)}: {[round(part, 2) for part in ratio]}" for name, ratio in measured.items()]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    for name in worse:
        print(f"worse: {name}")  # noqa: T201
    return WORSE if worse else 0


if __name__ == "__main__":
    sys.exit(main())
