"""`python -m tests.bench [--rounds N] [--keep]`, or `make bench`: what a request of a tiny network costs the server.

Server and echoes share one core and take turns, the clients have another. What is printed is the processor time that a
request takes of the server, which other work on the machine disturbs least, as microseconds and in units of the echo.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.server import Server, ours
from tests.bench.tiny import rows, write_repository
from tests.bench.verdict import Ratio, is_worse, ratio_of

KEPT = Path(__file__).with_name("ratios.json")
FORMS = ("json", "binary", "grpc")
CONNECTIONS = (1, 16, 64)
WORSE = 1


@contextmanager
def servers() -> Iterator[tuple[Server, dict[str, Server]]]:
    """Ours, and by form the echo that does as little."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        write_repository(Path(folder) / "repository")

        def begun(server: Server) -> Server:
            running.callback(server.close)
            return server

        service = begun(ours(Path(folder) / "repository", Path(folder) / "state"))
        http, grpc = (begun(Server([sys.executable, "-m", f"tests.bench.{name}"])) for name in ("echo", "grpc_echo"))
        yield service, {"json": http, "binary": http, "grpc": grpc}


def measure(rounds: int) -> dict[str, tuple[float, Ratio]]:
    """Form and connections -> microseconds a request, and its ratio to the echo."""
    found: dict[str, list[tuple[float, float]]] = {}
    with servers() as (service, echoes):
        for number in range(rounds + 1):
            for form in FORMS:
                for connections in CONNECTIONS:
                    pair = service.cost_us(form, connections), echoes[form].cost_us(form, connections)
                    if number:  # the first round warms them up
                        found.setdefault(f"{form}, {connections}", []).append(pair)
    return {name: (min(cost for cost, _ in pairs), ratio_of(pairs)) for name, pairs in found.items()}


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
    measured, worse = measure(options.rounds), []
    for name, (cost_us, ratio) in measured.items():
        known = kept.get(name)
        told = f"{ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) of the echo"
        was = f", was {known.middle:.2f} ({known.low:.2f} to {known.high:.2f})" if known else ""
        print(f"{name:>10} connections: {cost_us:6.1f} us, {cost_us / raw[1]:5.1f} runs, {told}{was}")  # noqa: T201
        if known is not None and is_worse(ratio, known):
            worse.append(name)
    if options.keep:
        lines = [f"  {json.dumps(name)}: {[round(part, 2) for part in ratio]}" for name, (_, ratio) in measured.items()]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    for name in worse:
        print(f"worse: {name} connections")  # noqa: T201
    return WORSE if worse and not options.keep else 0


if __name__ == "__main__":
    sys.exit(main())
