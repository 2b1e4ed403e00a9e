"""`python -m tests.bench.scale [--rounds N] [--out FOLDER] [PART ...]`: is what one more costs the same at any size?

Prints what it measures, and writes scale.json and scale.svg into the folder that is named, where parts that were not
measured now stay as they were. Parts: models, connections, queue, loading.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.bench.scale import picture
from tests.bench.scale.loading import loading
from tests.bench.scale.samples import Line, by_name
from tests.bench.scale.traffic import connections, models
from tests.bench.scale.waiting import queue

PARTS = {
    "models": models,
    "connections": connections,
    "queue": lambda rounds: asyncio.run(queue(rounds)),
    "loading": lambda rounds: loading(min(rounds, 3)),
}


def main() -> int:
    """Measures, prints, and writes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them where none is named")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kept = options.out / "scale.json" if options.out is not None else None
    found: dict[str, Any] = json.loads(kept.read_text())["parts"] if kept is not None and kept.exists() else {}
    for part in options.parts or PARTS:
        lines = PARTS[part](options.rounds)
        found[part] = by_name(lines)
        _print(part, lines)
    if kept is not None:
        document = {"cores": len(os.sched_getaffinity(0)), "parts": found}
        kept.write_text(json.dumps(document, indent=1) + "\n")
        kept.with_suffix(".svg").write_text(picture.drawn(found))
    return 0


def _print(part: str, lines: list[Line]) -> None:
    for line in lines:
        described = line.to_json()
        for size, figures in described["sizes"].items():
            middle, low, high = figures["ratio"]
            told = f"{figures['median']:>10} {line.unit:3} {middle:8} ({low} to {high})"
            print(f"{part:>11}, {line.name:45} {size:>6}: {told}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
