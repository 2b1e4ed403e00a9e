"""Holds Retort against the real tritonserver: `make triton`.

Serves the same models by both and compares documents, answers and the statuses of bad requests over HTTP and gRPC;
then lets a Retort serve models that the real Triton runs. Prints a table; exit code 1 where a difference is not
written down in `deviations`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.support.process import ServerProcess
from tests.triton.grpc_part import compare_grpc
from tests.triton.http_part import compare_http
from tests.triton.report import Report
from tests.triton.repositories import DIGITS, write_both
from tests.triton.runner_part import compare_runner
from tests.triton.server import CannotRun, TritonServer


def main() -> int:
    """Runs every part; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--venv", type=Path, required=True, help="holds nvidia-pytriton")
    venv = arguments.parse_args().venv
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        try:
            compare(report, venv.absolute(), Path(name))
        except CannotRun as reason:
            sys.stderr.write(f"the real Triton cannot be run here: {reason}\n")
            return 1
    sys.stdout.write(f"{report.table()}\n")
    return 1 if report.failed else 0


def compare(report: Report, venv: Path, folder: Path) -> None:
    """Starts both servers and compares them."""
    rows = np.load(DIGITS.with_name("golden.npz"))["input/image"][:32]
    theirs, ours = write_both(folder)
    with TritonServer(venv, theirs, folder) as triton:
        with ServerProcess(["--repository", str(ours)], folder) as retort:
            compare_http(report, triton.url, retort.url, rows)
            compare_grpc(report, f"127.0.0.1:{triton.grpc_port}", retort.grpc, rows)
        compare_runner(report, triton, folder, rows)


if __name__ == "__main__":
    sys.exit(main())
