"""W1: a network so small that what is measured is everything around it, and the requests that ask it.

There may be many of it, each with weights of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson

_SIZES = ((64, 128), (128,), (128, 10), (10,))


def name_of(number: int) -> str:
    """The name of a model."""
    return f"tiny-{number}" if number else "tiny"


def write_repository(folder: Path, models: int = 1) -> None:
    """A repository with `tiny`, `tiny-1` and so on: 64 float32 values to 10 probabilities, by 128 in between."""
    for number in range(models):
        _write(folder / name_of(number) / "1", number)


def _write(version: Path, seed: int) -> None:
    import onnx  # noqa: PLC0415 - takes half a second that clients do not have
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    version.mkdir(parents=True)
    random = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array((random.standard_normal(size) * 0.1).astype(np.float32), f"w{number}")
        for number, size in enumerate(_SIZES)
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "w3"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", s]) for n, s in (("x", 64), ("y", 10)))
    graph = helper.make_graph(nodes, "tiny", [x], [y], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), version / "model.onnx"
    )
    (version.parent / "model.yaml").write_text("max_batch_size: 32\nthreads: 1\n")


def rows(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Inputs of the network, shape [count, 64]."""
    return np.random.default_rng(1).random((count, 64), dtype=np.float32).round(4)


def requests(model: str = "tiny") -> dict[str, bytes]:
    """One request of one row as JSON, and one as binary data: whole, as they go over the wire."""
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32"}
    values = rows(1)
    flat = [round(float(value), 4) for value in values.ravel()]
    header = orjson.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": values.nbytes}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    )
    length = f"Inference-Header-Content-Length: {len(header)}\r\n"
    path, as_json = f"/v2/models/{model}/infer", orjson.dumps({"inputs": [{**tensor, "data": flat}]})
    return {
        "json": written(path, as_json, "Content-Type: application/json\r\n"),
        "binary": written(path, header + values.tobytes(), f"Content-Type: application/octet-stream\r\n{length}"),
    }


def written(path: str, body: bytes, fields: str) -> bytes:
    """A whole request."""
    return f"POST {path} HTTP/1.1\r\nHost: bench\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body
