"""The real Triton on the same core and the same requests, by turns with ours: answers a second, whatever they cost.

PEERS_HOME names a folder with `venvs/triton`, see `requirements/triton.txt`. Triton serves the network twice: without a
delay for a batch, which suits few connections, and with 2 ms, which suits many; ours is held against the better.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.server import SECONDS, Server, answers, first_core
from tests.bench.verdict import Ratio, ratio_of
from tests.triton.server import TritonServer

FORMS = ("json", "binary")
DELAYS_US = (0, 2000)
_CONFIGURATION = """\
name: "tiny"
backend: "python"
max_batch_size: 32
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ 64 ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ 10 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}
"""


def environment() -> Path | None:
    """Triton's, or None where PEERS_HOME names none."""
    found = Path(os.environ.get("PEERS_HOME", "none")).resolve() / "venvs" / "triton"
    return found if found.is_dir() else None


@contextmanager
def tritons(venv: Path, onnx: Path, folder: Path) -> Iterator[dict[int, str]]:
    """Two on the first core, by their delay in microseconds; yields their ports."""
    with ExitStack() as running:
        ports = {}
        for delay_us in DELAYS_US:
            home = folder / f"triton-{delay_us}"
            version = home / "repository" / "tiny" / "1"
            version.mkdir(parents=True)
            shutil.copy(onnx, version / "model.onnx")
            shutil.copy(Path(__file__).with_name("triton_model.py"), version / "model.py")
            (version.parent / "config.pbtxt").write_text(_CONFIGURATION.format(delay_us=delay_us))
            with _on_first_core():
                server = running.enter_context(TritonServer(venv, home / "repository", home))
            ports[delay_us] = str(server.http_port)
        yield ports


def measure(service: Server, ports: Mapping[int, str], connections: tuple[int, ...], rounds: int) -> dict[str, Ratio]:
    """Form and connections -> the better Triton's answers a second, in units of ours right beside them."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds + 1):
        for form in FORMS:
            for count in connections:
                ours, *theirs = (_rate(port, form, count) for port in (service.port, *ports.values()))
                if number:  # the first round warms them up
                    pairs.setdefault(f"{form}, {count}", []).append((max(theirs), ours))
    return {name: ratio_of(seen) for name, seen in pairs.items()}


def _rate(port: str, form: str, connections: int) -> float:
    number, seconds = answers(["tests.bench.load", port, str(connections), str(SECONDS), form])
    return number / seconds


@contextmanager
def _on_first_core() -> Iterator[None]:
    """What is started within stays there: threads of a server that already runs cannot all be moved."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {first_core()})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
