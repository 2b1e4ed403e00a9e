"""What a loaded session takes and answers, as tensor specs; refuses what no client could send.

ONNX Runtime reports a tensor of unknown rank and a scalar alike, with no dims; both become `dims=()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.core.contract import TensorSpec
from service.core.errors import BadModel

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors that go in and come out, and the outputs that are left out since they are no tensors.

    An input with a default (an initializer of the same name) is not among `inputs`: it keeps its default.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    omitted_outputs: tuple[str, ...]


def read_signature(inputs: Iterable[Any], outputs: Iterable[Any]) -> Signature:
    """The signature of a session.

    Args:
        inputs: `session.get_inputs()`: objects with `name`, `type` and `shape`.
        outputs: `session.get_outputs()`.

    Raises:
        BadModel: an input is no tensor, a tensor's type cannot be served, or no output is a tensor.
    """
    answered = list({node.name: node for node in outputs}.values())  # ONNX Runtime lets a graph name one twice
    tensors = [node for node in answered if _is_tensor(node)]
    if not tensors:
        raise BadModel("none of the model's outputs is a tensor, so there is nothing to answer")
    return Signature(
        inputs=tuple(_spec("input", node) for node in inputs),
        outputs=tuple(_spec("output", node) for node in tensors),
        omitted_outputs=tuple(node.name for node in answered if not _is_tensor(node)),
    )


def _is_tensor(node: Any) -> bool:
    return str(node.type).startswith("tensor(")


def _spec(side: str, node: Any) -> TensorSpec:
    if not _is_tensor(node):
        raise BadModel(f"{side} '{node.name}' is of type {node.type}; only plain tensors are served")
    if node.type == "tensor(bfloat16)":
        raise BadModel(f"{side} '{node.name}' is BF16, which is not served: cast it to FP32 inside the graph")
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        raise BadModel(f"{side} '{node.name}' is of type {node.type}, which is not served")
    return TensorSpec(node.name, datatype, tuple(node.shape))
