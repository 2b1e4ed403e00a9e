"""ONNX Runtime alone, `python -m tests.bench.raw MODEL INPUTS`: runs of one size, as long as a line it reads says.

A line is rows and seconds; the answer is a line of JSON: runs, seconds, seconds of processor time, and the median run.
It rests in between, so that it can share a core with a server by turns.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

from service.core.contract import Array


def session_of(model: Path) -> onnxruntime.InferenceSession:
    """On one thread, with ONNX Runtime's other options as they are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def timed(session: onnxruntime.InferenceSession, row: dict[str, Array], rows: int, seconds: float) -> dict[str, float]:
    """Runs of `rows` rows for that long; the first is left out."""
    feed = {name: np.repeat(array, rows, axis=0) for name, array in row.items()}
    session.run(None, feed)
    took: list[float] = []
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    ended_s = began_s
    while ended_s - began_s < seconds:
        session.run(None, feed)
        before_s, ended_s = ended_s, time.perf_counter()
        took.append(ended_s - before_s)
    cpu_s = time.process_time() - began_cpu_s
    return {"runs": len(took), "seconds": ended_s - began_s, "cpu_s": cpu_s, "run_s": median(took)}


def main(model: str, inputs: str) -> None:
    """Answers lines until there are no more."""
    session = session_of(Path(model))
    with np.load(inputs) as kept:
        row = dict(kept)
    for line in sys.stdin:
        rows, seconds = line.split()
        print(json.dumps(timed(session, row, int(rows), float(seconds))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
