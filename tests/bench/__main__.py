"""`python -m tests.bench [--rounds N] [--keep]`, or `make bench`: what a request of a tiny network costs the server.

Server and echoes share one core and take turns, the clients have another. What is printed is the processor time that a
request takes of the server, which other work on the machine disturbs least, as microseconds and in units of the echo.
Where PEERS_HOME names a Triton, its answers a second are told too, in units of ours.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.bench import peers
from tests.bench.server import Server, ours
from tests.bench.tiny import rows, write_repository
from tests.bench.verdict import Ratio, is_worse, ratio_of

KEPT = Path(__file__).with_name("ratios.json")
FORMS = ("json", "binary", "grpc")
CONNECTIONS = (1, 16, 64)
WORSE = 1


class Measured(NamedTuple):
    """Of one form and number of connections.

    Attributes:
        cost_us: processor time a request, the least of all rounds.
        echo: its ratio to the echo's.
    """

    cost_us: float
    echo: Ratio


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Server, dict[str, Server]]]:
    """Ours, and by form the echo that does as little."""
    with ExitStack() as running:
        service, http, grpc = (
            running.enter_context(closing(server))
            for server in (
                ours(folder / "repository", folder / "state"),
                Server([sys.executable, "-m", "tests.bench.echo"]),
                Server([sys.executable, "-m", "tests.bench.grpc_echo"]),
            )
        )
        yield service, {"json": http, "binary": http, "grpc": grpc}


def measure(rounds: int) -> tuple[dict[str, Measured], dict[str, Ratio]]:
    """By form and connections: what a request costs, and the answers of a Triton that is there, in units of ours."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_repository(folder / "repository")
        with servers(folder) as (service, echoes):
            for number in range(rounds + 1):
                for form, connections in product(FORMS, CONNECTIONS):
                    pair = service.cost_us(form, connections), echoes[form].cost_us(form, connections)
                    if number:  # the first round warms them up
                        found.setdefault(f"{form}, {connections}", []).append(pair)
            others: dict[str, Ratio] = {}
            venv = peers.environment()
            if venv is not None:
                with peers.tritons(venv, folder / "repository" / "tiny" / "1" / "model.onnx", folder) as ports:
                    others = peers.measure(service, ports, CONNECTIONS, rounds)
    return {key: Measured(min(cost for cost, _ in pairs), ratio_of(pairs)) for key, pairs in found.items()}, others


def raw_us() -> dict[int, float]:
    """Microseconds that a row takes of ONNX Runtime alone, by rows of a run, on the core of the servers."""
    import onnxruntime  # noqa: PLC0415 - not where the clients are made

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        write_repository(Path(folder))
        session = onnxruntime.InferenceSession(f"{folder}/tiny/1/model.onnx", options, ["CPUExecutionProvider"])
    found = {}
    for count in (1, 32):
        feed, best_s = {"x": rows(count)}, float("inf")
        for _ in range(50):
            began_s = time.process_time()
            for _ in range(100):
                session.run(None, feed)
            best_s = min(best_s, (time.process_time() - began_s) / 100)
        found[count] = best_s / count * 1e6
    return found


def main() -> int:
    """Measures, prints, and compares with what is kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.name} anew")
    options = parser.parse_args()
    raw = raw_us()
    kept = {name: Ratio(*ratio) for name, ratio in json.loads(KEPT.read_text()).items()} if KEPT.exists() else {}
    print(f"raw ONNX Runtime: {raw[1]:.1f} us a row alone, {raw[32]:.2f} in a run of 32")  # noqa: T201
    measured, others = measure(options.rounds)
    for name, (cost_us, ratio) in measured.items():
        told = f"{cost_us:6.1f} us, {cost_us / raw[1]:5.1f} runs, {_said(ratio)} of the echo"
        print(f"{name:>10} connections: {told}{_was(kept.get(name))}")  # noqa: T201
    for name, ratio in others.items():
        print(f"{name:>10} connections: Triton has {_said(ratio)} of our answers a second")  # noqa: T201
    ratios = {name: ratio for name, (_, ratio) in measured.items()}
    worse = [name for name, ratio in ratios.items() if name in kept and is_worse(ratio, kept[name])]
    if options.keep:
        lines = [f"  {json.dumps(name)}: {[round(part, 2) for part in ratio]}" for name, ratio in ratios.items()]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for name in worse:
        print(f"worse: {name} connections")  # noqa: T201
    return WORSE if worse and not options.keep else 0


def _said(ratio: Ratio) -> str:
    return f"{ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _was(known: Ratio | None) -> str:
    return f", was {_said(known)}" if known else ""


if __name__ == "__main__":
    sys.exit(main())
