"""Small ONNX models, good and hostile, made with the onnx package."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHT = np.arange(4, dtype=np.float32)


def value(name: str, elem_type: int = TensorProto.FLOAT, dims: Sequence[int | str] = ("n", 4)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, dims)


def graph(
    nodes: Sequence[onnx.NodeProto] | None = None,
    initializers: Sequence[onnx.TensorProto] | None = None,
    **more: Sequence[onnx.SparseTensorProto],
) -> onnx.GraphProto:
    """y = x + w unless said otherwise."""
    return helper.make_graph(
        nodes if nodes is not None else [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [value("x")],
        [value("y")],
        initializers if initializers is not None else [numpy_helper.from_array(WEIGHT, "w")],
        **more,
    )


def model(
    of: onnx.GraphProto | None = None,
    *,
    domains: Sequence[str] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(of or graph(), opset_imports=opsets, functions=functions, ir_version=8)


def external(
    location: str = "w.bin",
    name: str = "w",
    *,
    dims: Sequence[int] = (4,),
    offset: str | None = "0",
    length: str | None = "16",
    data_type: int = TensorProto.FLOAT,
) -> onnx.TensorProto:
    """A tensor whose data lies in another file."""
    tensor = TensorProto(name=name, data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        if text is not None:
            tensor.external_data.add(key=key, value=text)
    return tensor


def branch(tensor: onnx.TensorProto) -> onnx.GraphProto:
    """A subgraph that holds the tensor."""
    return helper.make_graph([helper.make_node("Add", ["x", "w"], ["z"])], "b", [], [value("z")], [tensor])


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def number_field(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def bytes_field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
