"""Memory that a version adds to a process: loaded and run once in a fresh child, so that nothing else is counted.

The child first loads a graph of one node: what the runtime itself needs is no version's. Linux and glibc only give
exact figures; each is the median of several children. A coded version is decoded before it is loaded, and what was
decoded is then let go: what it keeps is what its ONNX file keeps.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from models.data.samples import arrays_to_npz, read_arrays
from service.core import interpreter
from service.core.contract import Arrays
from service.core.errors import RunFailed, Stuck
from service.runtime.memory import resident_bytes as process_resident_bytes
from service.runtime.memory import trim
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

CHILDREN = 3
MODEL, FEED, NOTHING = "model.onnx", "feed.npz", "nothing.onnx"


def resident_bytes(model: bytes, feed: Arrays, *, timeout_s: float = 120.0) -> int:
    """Bytes that loading `model` and running `feed` once add, on the CPU with one thread.

    Args:
        model: the ONNX file.
        feed: real rows, in the model's dtypes; made-up ones may be no legal input.
        timeout_s: of each child.

    Raises:
        Stuck: a child took longer than `timeout_s`.
        RunFailed: a child failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MODEL).write_bytes(model)
        (Path(folder) / NOTHING).write_bytes(_one_node())
        (Path(folder) / FEED).write_bytes(arrays_to_npz(dict(feed)))
        command = interpreter.command("models.evaluate.resident", folder)
        around = interpreter.environment()
        try:
            figures = [
                int(subprocess.run(command, capture_output=True, check=True, timeout=timeout_s, env=around).stdout)  # noqa: S603
                for _ in range(CHILDREN)
            ]
        except subprocess.CalledProcessError as error:
            raise RunFailed(
                f"the model's memory cannot be measured: the process that loaded it and ran it once {_end(error)}"
            ) from error
        except subprocess.TimeoutExpired:
            raise Stuck(
                f"measuring the model's memory was stopped: it was expected to load and run once within {timeout_s:g} s"
            ) from None
    return int(statistics.median(figures))


def measure_here(model: bytes, feed: Arrays, nothing: bytes) -> int:
    """What this process grows by, once it has run the model `nothing`; meaningful only in a fresh one."""
    with_runtime = _load_and_run(nothing, {"x": np.zeros(1, np.float32)})
    before = _settled_bytes()
    with_model = _load_and_run(model, feed)
    grown = _settled_bytes() - before
    with_model.close()
    with_runtime.close()
    return max(0, grown)


def _end(error: subprocess.CalledProcessError) -> str:
    if error.returncode < 0:
        return f"was ended by signal {-error.returncode}, as for want of memory"
    return f"failed: {next(iter(reversed(error.stderr.decode(errors='replace').splitlines())), 'it said nothing')}"


def _load_and_run(model: bytes, feed: Arrays) -> OnnxRunner:
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    runner.run(feed)
    return runner


def _settled_bytes() -> int:
    trim()
    return process_resident_bytes()


def _one_node() -> bytes:
    from onnx import TensorProto, helper  # noqa: PLC0415 -- the children need none of it, and it takes half a second

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


if __name__ == "__main__":
    _model, _feed, _nothing = ((Path(sys.argv[1]) / name).read_bytes() for name in (MODEL, FEED, NOTHING))
    sys.stdout.write(str(measure_here(_model, read_arrays(_feed), _nothing)))
