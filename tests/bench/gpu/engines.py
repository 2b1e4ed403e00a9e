"""`python -m tests.bench.gpu.engines MODEL ROWS CACHE`: a load as the server does it, in a process that then ends.

Prints seconds until its runner is there, and until it has answered a first time. Run twice with one folder for CACHE it
tells what TensorRT's engines, which are kept there, spare a restart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions


class Load(NamedTuple):
    """Seconds of one load in a new process."""

    load_s: float
    answer_s: float


def loads(model: Path, rows: Path, cache: Path, times: int = 2) -> list[Load]:
    """One behind the other, each in a process of its own; the first finds `cache` empty."""
    command = [sys.executable, "-m", "tests.bench.gpu.engines", str(model), str(rows), str(cache)]
    told = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(times)]
    return [Load(**json.loads(line)) for line in told]


def main(model: str, rows: str, cache: str) -> None:
    """Loads, runs once, prints."""
    with np.load(rows) as kept:
        feed = dict(kept)
    most = max(len(array) for array in feed.values())
    options = RunnerOptions("tensorrt", max_batch_size=most, cache_dir=Path(cache))
    began_s = time.perf_counter()
    runner = OnnxRunner.load(Path(model).read_bytes(), {}, options)
    loaded_s = time.perf_counter()
    runner.run(feed)
    print(json.dumps({"load_s": loaded_s - began_s, "answer_s": time.perf_counter() - began_s}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
