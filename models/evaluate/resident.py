"""Memory that a version adds to a process: loaded and run once in a fresh child, so that nothing else is counted.

The child first loads a graph of one node: what the runtime itself needs is no version's. Linux and glibc only give
exact figures; each is the median of several children.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from onnx import TensorProto, helper

from service.core.synthetic import synthetic_feed
from service.runtime.memory import resident_bytes as process_resident_bytes
from service.runtime.memory import trim
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

CHILDREN = 3


def resident_bytes(model: bytes, *, rows: int, timeout_s: float = 120.0) -> int:
    """Bytes that loading `model` and running one batch of `rows` add, on the CPU with one thread.

    Raises:
        subprocess.SubprocessError: a child failed or took longer than `timeout_s`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        command = [sys.executable, "-m", "models.evaluate.resident", str(path), str(rows)]
        figures = [
            int(subprocess.run(command, capture_output=True, check=True, timeout=timeout_s).stdout)  # noqa: S603
            for _ in range(CHILDREN)
        ]
    return int(statistics.median(figures))


def measure_here(model: bytes, rows: int) -> int:
    """What this process grows by; meaningful only in a fresh one."""
    with_runtime = _load_and_run(_one_node(), rows)
    before = _settled_bytes()
    with_model = _load_and_run(model, rows)
    grown = _settled_bytes() - before
    with_model.close()
    with_runtime.close()
    return max(0, grown)


def _load_and_run(model: bytes, rows: int) -> OnnxRunner:
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    first = runner.inputs[0].dims[0] if runner.inputs[0].dims else None
    runner.run(synthetic_feed(runner.inputs, rows, batch_axis=first if isinstance(first, str) else None))
    return runner


def _settled_bytes() -> int:
    trim()
    return process_resident_bytes()


def _one_node() -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


if __name__ == "__main__":
    sys.stdout.write(str(measure_here(Path(sys.argv[1]).read_bytes(), int(sys.argv[2]))))
