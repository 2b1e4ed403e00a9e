"""`make bench-gpu`: measures on the GPU that is here, prints a table, and writes `gpu.json` and `gpu.md`.

Ends with 2 and a sentence where there is none. `--provider cpu` tries the bench itself; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from service.core.cpu import cpu_class
from service.runtime.onnx import runtime_version
from service.runtime.providers import Provider
from tests.bench.gpu.engines import loads
from tests.bench.gpu.measuring import measure
from tests.bench.gpu.networks import NAMES, Network, networks
from tests.bench.gpu.page import page_of
from tests.bench.gpu.sessions import NotThere, demand

NOT_THERE = 2
CROWDS = (1, 16, 64)
_ASKED = ("name", "driver_version", "memory.total", "compute_cap")


def machine() -> dict[str, str]:
    """What it was measured on: of the GPU what its driver's own tool tells."""
    query = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError, IndexError):
        told = ["not known"] * len(_ASKED)
    versions = {"Python": sys.version.split()[0], "ONNX Runtime": runtime_version(), "CPU": cpu_class()}
    return {f"GPU {asked}": value for asked, value in zip(_ASKED, told, strict=True)} | versions


def measured(options: Any, folder: Path, progress: Progress) -> dict[str, Any]:
    """All of it."""
    found: dict[str, Any] = {"machine": machine(), "runs": [], "served": [], "engines": []}
    made = networks(folder / "networks", options.side, max(options.rows))
    kinds = [network for network in made if network.name in options.networks]
    steps = progress.add_task("", total=len(kinds) * len(options.provider))
    for provider in options.provider:
        for network in kinds:
            progress.update(steps, description=f"{network.name} {network.precision} on {provider}")
            _one(found, options, network, provider, folder / f"{provider}-{network.name}-{network.precision}")
            progress.advance(steps)
    return found


def _one(found: dict[str, Any], options: Any, network: Network, provider: Provider, folder: Path) -> None:
    """Every measurement of one network on one provider."""
    folder.mkdir()
    engines = folder / "engines" if provider == "tensorrt" else None
    for rows in options.rows:
        times = measure(network, provider, rows, engines=engines, rounds=options.rounds, seconds=options.seconds)
        found["runs"] += [one._asdict() for one in times]
    if options.server:
        # Only then: the rest needs no server and no client, and so runs where neither can be installed.
        from tests.bench.gpu.serving import serve  # noqa: PLC0415

        answered = serve(network, provider, folder / "server", CROWDS, options.seconds)
        found["served"] += [one._asdict() for one in answered]
    if provider == "tensorrt":
        (folder / "model.onnx").write_bytes(network.onnx)
        np.savez(folder / "rows.npz", **network.rows)
        both = loads(folder / "model.onnx", folder / "rows.npz", folder / "kept")
        loaded = [load._asdict() for load in both]
        found["engines"].append({"network": network.name, "precision": network.precision, "loads": loaded})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, writes."""
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        for provider in options.provider:
            demand(provider)
    except NotThere as reason:
        console.print(str(reason), soft_wrap=True, markup=False)
        return NOT_THERE
    with tempfile.TemporaryDirectory() as folder, Progress(console=console) as progress:
        found = measured(options, Path(folder), progress)
    page = page_of(found)
    print(page)  # noqa: T201
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "gpu.md").write_text(page)
    return 0


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    add = parser.add_argument
    add("--provider", nargs="+", choices=("cpu", "cuda", "tensorrt"), default=["cuda"])
    add("--networks", nargs="+", choices=NAMES, default=NAMES)
    add("--rows", type=int, nargs="+", default=[1, 8, 32], help="of a batch")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="of each way in each round, and of clients")
    add("--side", type=int, default=224, help="of the images of the large network")
    add("--server", action=argparse.BooleanOptionalAction, default=True, help="measure through the server too")
    add("--out", type=Path, help="a folder for gpu.json and gpu.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
