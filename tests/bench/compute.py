"""`python -m tests.bench.compute [--model FILE]`: what the server gets out of a core, and ONNX Runtime alone.

The two share the core and take turns, the clients have another. Rates are ratios to the best batch of ONNX Runtime
alone, measured right beside; so is processor time, which other work on the machine disturbs less. The wait of a lone
client is held against a run of its one row. Fails where all that was measured of one misses its goal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psutil

from tests.bench.answers import check_answer
from tests.bench.server import Server, first_core, last_core, ours
from tests.bench.verdict import Ratio, is_short, ratio_of
from tests.bench.workload import NAME, requests_of, row_of, write_repository

BATCHES = (1, 4, 8, 16, 32)
CROWDS = (16, 64)
LEAST_SHARE = 0.97  # of ONNX Runtime's rate
MOST_EXTRA_MS = 0.4  # of a lone client's wait, beside its run
SHORT = 1
_FIRST_LOOKS = 3


class Part(NamedTuple):
    """One stretch of one side: rows a second, microseconds of processor time a row, median seconds of a run or wait."""

    rate: float
    cost_us: float
    took_s: float


class Runs(NamedTuple):
    """What the server's runs were like: rows each, and microseconds from the end of one to the begin of the next."""

    rows: float
    gap_us: float


class Raw:
    """ONNX Runtime alone, in a process on the server's core that rests while it is not asked."""

    def __init__(self, model: Path, inputs: Path) -> None:
        command = [sys.executable, "-m", "tests.bench.raw", str(model), str(inputs)]
        self._process = psutil.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.cpu_affinity([first_core()])

    def part(self, rows: int, seconds: float) -> Part:
        """Runs of so many rows for so long."""
        self._process.stdin.write(f"{rows} {seconds}\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        done = told["runs"] * rows
        return Part(done / told["seconds"], told["cpu_s"] / done * 1e6, told["run_s"])

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()


class Served:
    """The server, and the clients that ask it."""

    def __init__(self, server: Server, request: Path) -> None:
        self.port = server.port
        self._server = server
        self._request = request

    def part(self, connections: int, seconds: float) -> tuple[Part, Runs]:
        """So many connections for so long."""
        before, before_s = self._counts(), self._server.taken_s()
        clients = ["-m", "tests.bench.pace", self.port, str(connections), str(seconds), str(self._request)]
        asking = psutil.Popen([sys.executable, *clients], stdout=subprocess.PIPE, text=True)
        asking.cpu_affinity([last_core()])
        told = json.loads(asking.communicate()[0] or "null")
        if told is None:
            raise SystemExit(f"the clients ended with {asking.returncode}")
        runs, rows, infer_ns = (now - then for now, then in zip(self._counts(), before, strict=True))
        taken_us = (self._server.taken_s() - before_s) * 1e6
        part = Part(told["answers"] / told["seconds"], taken_us / rows, told["wait_s"])
        return part, Runs(rows / runs, (rows / part.rate * 1e6 - infer_ns / 1e3) / runs)

    def _counts(self) -> tuple[int, int, int]:
        """Runs, rows, and nanoseconds in the engine so far."""
        url = f"http://127.0.0.1:{self.port}/v2/models/{NAME}/stats"
        with urllib.request.urlopen(url) as answer:
            [stats] = json.load(answer)["model_stats"]
        infer_ns = sum(size["compute_infer"]["ns"] for size in stats["batch_stats"])
        return stats["execution_count"], stats["inference_count"], infer_ns


class Found(NamedTuple):
    """What was measured.

    Attributes:
        best_rows: the size of ONNX Runtime's best batch.
        costs_us: of ONNX Runtime alone, by rows of a run.
        rates: the server's rate as a share of ONNX Runtime's, by connections.
        costs: what ONNX Runtime's row takes of the processor, as a share of what the server's does.
        extra_ms: of a lone client's wait beside a run of one row, in each round.
        runs: the server's, by connections.
    """

    best_rows: int
    costs_us: dict[int, float]
    rates: dict[int, Ratio]
    costs: dict[int, Ratio]
    extra_ms: Ratio
    runs: dict[int, Runs]


def measure(raw: Raw, served: Served, batches: Sequence[int], rounds: int, seconds: float) -> Found:
    """By turns, `seconds` each."""
    looks = [{rows: raw.part(rows, seconds / 2).cost_us for rows in batches} for _ in range(_FIRST_LOOKS)]
    costs_us = {rows: median(look[rows] for look in looks) for rows in batches}
    best_rows = min(costs_us, key=lambda rows: costs_us[rows])
    for connections in CROWDS:
        served.part(connections, seconds)  # what it learns of its runs
    pairs: dict[int, list[tuple[Part, Part]]] = {connections: [] for connections in (1, *CROWDS)}
    runs: dict[int, list[Runs]] = {connections: [] for connections in pairs}
    for _ in range(rounds):
        for connections, so_far in pairs.items():
            alone = raw.part(1 if connections == 1 else best_rows, seconds)
            of_ours, of_runs = served.part(connections, seconds)
            so_far.append((of_ours, alone))
            runs[connections].append(of_runs)
    lone = sorted((one.took_s - alone.took_s) * 1e3 for one, alone in pairs[1])
    return Found(
        best_rows,
        costs_us,
        {number: ratio_of([(one.rate, alone.rate) for one, alone in pairs[number]]) for number in CROWDS},
        {number: ratio_of([(alone.cost_us, one.cost_us) for one, alone in pairs[number]]) for number in CROWDS},
        Ratio(median(lone), lone[0], lone[-1]),
        {number: Runs(*map(median, zip(*seen, strict=True))) for number, seen in runs.items()},
    )


def judged(found: Found, most_extra_ms: float) -> list[str]:
    """What falls short, in words."""
    short = [
        f"{number} connections: at most {rate.high:.3f} of ONNX Runtime's rate, expected {LEAST_SHARE}"
        for number, rate in found.rates.items()
        if is_short(rate, LEAST_SHARE)
    ]
    if found.extra_ms.low > most_extra_ms:
        short.append(f"one connection: {found.extra_ms.low:.2f} ms beside the run at least, expected {most_extra_ms}")
    return short


@contextmanager
def both(folder: Path, model: Path | None, inputs: Path | None, form: str, side: int) -> Iterator[tuple[Raw, Served]]:
    """ONNX Runtime alone, and the server; their answers are the same."""
    file = write_repository(folder / "repository", model, side)
    row, kept, request = row_of(file, inputs), folder / "row.npz", folder / "request"
    np.savez(kept, **row)
    request.write_bytes(requests_of(row)[form])
    with closing(ours(folder / "repository", folder / "state")) as server, closing(Raw(file, kept)) as raw:
        check_answer(server.port, row, file)
        yield raw, Served(server, request)


def told(found: Found) -> Iterator[str]:
    """Lines for whoever reads it."""
    alone = ", ".join(f"{1e6 / cost_us:.1f} at {rows}" for rows, cost_us in found.costs_us.items())
    yield f"ONNX Runtime alone, rows a second of processor time: {alone}"
    extra = found.extra_ms
    yield f"  1 connection:  {extra.middle:.2f} ms ({extra.low:.2f} to {extra.high:.2f}) beside the run"
    for number, rate in found.rates.items():
        cost, runs = found.costs[number], found.runs[number]
        yield (
            f" {number} connections: {rate.middle:.3f} ({rate.low:.3f} to {rate.high:.3f}) of its rate at "
            f"{found.best_rows}; by processor time {cost.middle:.3f} ({cost.low:.3f} to {cost.high:.3f}); "
            f"{runs.rows:.1f} rows a run, {runs.gap_us:.0f} us between two"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, judges."""
    options = _options(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        both(Path(folder), options.model, options.inputs, options.form, options.side) as (raw, served),
    ):
        found = measure(raw, served, options.batches, options.rounds, options.seconds)
    short = judged(found, options.extra_ms)
    for line in (*told(found), *(f"short: {what}" for what in short)):
        print(line)  # noqa: T201
    return SHORT if short else 0


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compute", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, help="an ONNX file; without it a network of the size of ResNet-18")
    add("--inputs", type=Path, help="an .npz with a row of its inputs; without it made up")
    add("--form", choices=("json", "binary"), default="binary")
    add("--batches", type=int, nargs="+", default=BATCHES, help="of ONNX Runtime alone; 1 for what is never mixed")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="of each part of a round")
    add("--extra-ms", type=float, default=MOST_EXTRA_MS, help="what a lone client may wait beside its run")
    add("--side", type=int, default=224, help="of the images of the network that is made up")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
