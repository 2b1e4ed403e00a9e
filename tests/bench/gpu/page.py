"""The page of a measurement, out of its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_INTRODUCTION = """\
# A GPU, by the way a network is run, by precision, and served

Made by `make bench-gpu`; every figure is in `gpu.json`. A run begins and ends with arrays in the host's memory: `plain`
as ONNX Runtime does it, `bound` with buffers on the device (IOBinding), `pinned` with page-locked host memory besides,
`recorded` with the run replayed as a CUDA graph besides. Each was held against the CPU's answers first.
"""


def page_of(found: Mapping[str, Any]) -> str:
    """Markdown."""
    machine = found["machine"]
    lines = [_INTRODUCTION, ", ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
    lines += ["## Runs", "", "Median milliseconds of a run; in brackets times as quick as plain.", ""]
    lines += _runs(found["runs"])
    if found["served"]:
        lines += ["", "## Served", "", "Binary requests of one row in a closed loop.", "", *_served(found["served"])]
    if found["engines"]:
        lines += ["", "## TensorRT's engines", "", "Seconds until a load in a new process has answered once.", ""]
        lines += _engines(found["engines"])
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    ways = list(dict.fromkeys(run["way"] for run in runs))
    by_case: dict[tuple[str, str, str, int], dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        case = (run["network"], run["precision"], run["provider"], run["rows"])
        by_case.setdefault(case, {})[run["way"]] = run
    rows = [
        [network, precision, provider, str(size), *(_cell(seen[way], seen["plain"]) for way in ways)]
        for (network, precision, provider, size), seen in by_case.items()
    ]
    yield from _table(["network", "precision", "provider", "rows", *ways], rows)
    reasons = dict.fromkeys(run["refused"] for run in runs if run["refused"])
    for reason in reasons:
        yield f"\nNot measured: {reason}"


def _cell(run: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    if run["refused"]:
        return "-"
    told = f"{run['p50_ms']:.3f}"
    return told if run is plain or plain["refused"] else f"{told} ({plain['p50_ms'] / run['p50_ms']:.2f})"


def _served(served: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    head = ["network", "precision", "provider", "connections", "rows/s", "wait, ms", "rows a run"]
    rows = [
        [
            *(str(one[name]) for name in ("network", "precision", "provider", "connections")),
            f"{one['rows_per_s']:.0f}",
            f"{one['wait_ms']:.2f}",
            f"{one['rows_a_run']:.1f}",
        ]
        for one in served
    ]
    yield from _table(head, rows)


def _engines(engines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        [one["network"], one["precision"], *(f"{load['answer_s']:.2f}" for load in one["loads"])] for one in engines
    ]
    yield from _table(["network", "precision", "first", "after a restart"], rows)
