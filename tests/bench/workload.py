"""A model that computes, behind the server and alone: its repository, one row that asks it, and the same as a request.

Without a file of its own it is a network of the size of ResNet-18 on images of 224x224, with weights of no meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import onnx
import onnxruntime
import orjson
from onnx import TensorProto, helper, numpy_helper

from service.core.contract import DATATYPES, Array

NAME = "computing"
MAX_ROWS = 32
_SEQUENCE = 64  # of every free axis but the first
# A closed loop waits for whatever its connections ask at once, which is no overload.
_CONFIGURATION = f"""\
max_batch_size: {MAX_ROWS}
threads: 1
dynamic_batching:
  max_queue_wait_microseconds: 60000000
"""
_OF_ORT = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # channels, and the step of the first of two blocks


def write_repository(folder: Path, model: Path | None, side: int = 224) -> Path:
    """A repository with the one model `computing`.

    Args:
        folder: where.
        model: its file; None for the network of random weights.
        side: of that network's images.

    Returns:
        The model's file in it.
    """
    file = folder / NAME / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    (file.parent.parent / "model.yaml").write_text(_CONFIGURATION)
    if model is None:
        onnx.save(residual_network(side), file)
    else:
        copyfile(model, file)
    return file


def row_of(model: Path, inputs: Path | None = None) -> dict[str, Array]:
    """Inputs of one row: those of an `.npz`, or numbers of no meaning that any vocabulary has."""
    if inputs is not None:
        with np.load(inputs) as kept:
            return {name: kept[name][:1] for name in kept.files}
    random = np.random.default_rng(2)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return {given.name: _numbers(random, given) for given in session.get_inputs()}


def requests_of(row: Mapping[str, Array]) -> dict[str, bytes]:
    """The row as JSON, and as binary data that asks for binary data: whole requests, as they go over the wire."""
    tensors = [{"name": name, "shape": a.shape, "datatype": DATATYPES[a.dtype]} for name, a in row.items()]
    values = [{**tensor, "data": row[tensor["name"]].ravel().tolist()} for tensor in tensors]
    sizes = [{**tensor, "parameters": {"binary_data_size": row[tensor["name"]].nbytes}} for tensor in tensors]
    header = orjson.dumps({"inputs": sizes, "parameters": {"binary_data_output": True}})
    length = f"Inference-Header-Content-Length: {len(header)}\r\n"
    blobs = b"".join(a.tobytes() for a in row.values())
    return {
        "json": _written(orjson.dumps({"inputs": values}), "Content-Type: application/json\r\n"),
        "binary": _written(header + blobs, f"Content-Type: application/octet-stream\r\n{length}"),
    }


def residual_network(side: int) -> onnx.ModelProto:
    """ResNet-18 without its normalisation, which folds into the weights anyway: [batch, 3, side, side] to 1,000."""
    net = _Net()
    net.convolve("image", 3, 64, 7, 2)
    net.add("MaxPool", [net.rectify()], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for wide, step in _STAGES:
        for stride in (step, 1):
            channels = net.block(channels, wide, stride)
    flat = net.add("Flatten", [net.add("GlobalAveragePool", [net.last])])
    net.add("Gemm", [flat, net.weight(channels, 1000), net.weight(1000)])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])
    logits = helper.make_tensor_value_info(net.last, TensorProto.FLOAT, ["batch", 1000])
    graph = helper.make_graph(net.nodes, NAME, [image], [logits], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class _Net:
    """Nodes one behind the other, and their weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.last = ""
        self._random = np.random.default_rng(0)

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self.last

    def weight(self, *shape: int) -> str:
        scale = (2 / max(1, np.prod(shape[1:]))) ** 0.5  # what goes through keeps its size
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(values, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def convolve(self, given: str, narrow: int, wide: int, size: int, stride: int) -> str:
        inputs = [given, self.weight(wide, narrow, size, size), self.weight(wide)]
        return self.add("Conv", inputs, kernel_shape=[size] * 2, strides=[stride] * 2, pads=[size // 2] * 4)

    def rectify(self) -> str:
        return self.add("Relu", [self.last])

    def block(self, narrow: int, wide: int, stride: int) -> int:
        given = self.last
        short = given if stride == 1 and narrow == wide else self.convolve(given, narrow, wide, 1, stride)
        self.convolve(given, narrow, wide, 3, stride)
        far = self.convolve(self.rectify(), wide, wide, 3, 1)
        self.add("Add", [far, short])
        self.rectify()
        return wide


def _numbers(random: np.random.Generator, given: Any) -> Array:
    rest = [size if isinstance(size, int) else _SEQUENCE for size in given.shape[1:]]
    dtype = np.dtype(_OF_ORT[given.type])
    if dtype.kind == "f":
        return random.standard_normal((1, *rest)).astype(dtype)
    return np.ones((1, *rest), dtype)


def _written(body: bytes, fields: str) -> bytes:
    head = f"POST /v2/models/{NAME}/infer HTTP/1.1\r\nHost: bench\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
