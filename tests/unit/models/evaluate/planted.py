"""Variants that must not pass, each with one fault planted into a real graph; and graphs of other kinds than images."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

INNER = "unspoilt"


def behind(model: bytes, nodes: Sequence[onnx.NodeProto], **constants: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """The model with nodes behind it: they read its answer as `INNER` and give the output anew."""
    proto = onnx.load_from_string(model)
    output = proto.graph.output[0].name
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [INNER if name == output else name for name in names]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    onnx.checker.check_model(proto)
    return proto.SerializeToString()


def wrong_scale(quantised: bytes, factor: float = 8.0) -> bytes:
    """Every other channel's scale multiplied, of the last operator whose weight is in 8 bits."""
    proto = onnx.load_from_string(quantised)
    weights = {one.name for one in proto.graph.initializer if one.data_type == TensorProto.INT8}
    *_, scale = (n.input[1] for n in proto.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in weights)
    (tensor,) = (one for one in proto.graph.initializer if one.name == scale)
    changed = numpy_helper.to_array(tensor).copy()
    changed[::2] *= np.float32(factor)
    tensor.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), scale))
    return proto.SerializeToString()


def shuffled_classes(model: bytes, classes: int = 10) -> bytes:
    """Every class under the next one's place."""
    node = helper.make_node("Gather", [INNER, "places"], ["logits"], axis=1)
    return behind(model, [node], places=np.roll(np.arange(classes, dtype=np.int64), 1))


def nan_on_class(model: bytes, which: int = 3) -> bytes:
    """NaN wherever it would have answered this class."""
    nodes = [
        helper.make_node("ArgMax", [INNER], ["best"], axis=1, keepdims=1),
        helper.make_node("Equal", ["best", "which"], ["hit"]),
        helper.make_node("Where", ["hit", "nan", INNER], ["logits"]),
    ]
    return behind(model, nodes, which=np.array(which, np.int64), nan=np.array(np.nan, np.float32))


def slower(model: bytes, width: int = 1024, layers: int = 6) -> bytes:
    """The same answers, bit for bit, beside work that leads to nothing."""
    nodes = [helper.make_node("MatMul", [INNER, "first"], ["w0"])]
    nodes += [helper.make_node("MatMul", [f"w{at}", "square"], [f"w{at + 1}"]) for at in range(layers)]
    nodes += [
        helper.make_node("ReduceMax", [f"w{layers}"], ["most"], keepdims=1),
        helper.make_node("Mul", ["most", "nothing"], ["none"]),
        helper.make_node("Add", [INNER, "none"], ["logits"]),
    ]
    first, square = np.full((10, width), 1e-3, np.float32), np.full((width, width), 1e-3, np.float32)
    return behind(model, nodes, first=first, square=square, nothing=np.array(0, np.float32))


def batch_dependent(model: bytes) -> bytes:
    """Its input rounded to 8 bits by one scale for the whole batch, as dynamic quantisation does it."""
    proto = onnx.load_from_string(model)
    name = proto.graph.input[0].name
    for node in proto.graph.node:
        node.input[:] = ["rounded" if one == name else one for one in node.input]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [name], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
    ]
    for at, node in enumerate(nodes):
        proto.graph.node.insert(at, node)
    return proto.SerializeToString()


def other_output_dtype(model: bytes) -> bytes:
    """float64 in place of float32."""
    proto = onnx.load_from_string(behind(model, [helper.make_node("Cast", [INNER], ["logits"], to=TensorProto.DOUBLE)]))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto.SerializeToString()


def other_output_shape(model: bytes, kept: int = 9) -> bytes:
    """One class fewer."""
    node = helper.make_node("Gather", [INNER, "kept"], ["logits"], axis=1)
    proto = onnx.load_from_string(model)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = kept
    return behind(proto.SerializeToString(), [node], kept=np.arange(kept, dtype=np.int64))


def other_input(model: bytes) -> bytes:
    """float64 in place of float32 for the input."""
    proto = onnx.load_from_string(model)
    name = proto.graph.input[0].name
    for node in proto.graph.node:
        node.input[:] = ["narrowed" if one == name else one for one in node.input]
    proto.graph.node.insert(0, helper.make_node("Cast", [name], ["narrowed"], to=TensorProto.FLOAT))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto.SerializeToString()


def fixed_batch(rows: int) -> bytes:
    """image [rows, 1, 8, 8] -> logits [rows, 4]."""
    proto = onnx.load_from_string(convolutional())
    for one in (proto.graph.input[0], proto.graph.output[0]):
        one.type.tensor_type.shape.dim[0].dim_value = rows
    return proto.SerializeToString()


def text(vocabulary: int = 50, width: int = 16) -> bytes:
    """ids and mask int64 [N, T] -> pooled [N, width], logits [N, 2]; an id outside the vocabulary fails."""
    rng = np.random.default_rng(0)
    words = rng.standard_normal((vocabulary, width)).astype(np.float32)
    heads = rng.standard_normal((width, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["vectors"]),
        helper.make_node("Cast", ["mask"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "time"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "heads"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(words, "words"),
        numpy_helper.from_array(heads, "heads"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "time"),
    ]
    inputs = [value(name, TensorProto.INT64, ["N", "T"]) for name in ("ids", "mask")]
    outputs = [value("pooled", TensorProto.FLOAT, ["N", width]), value("logits", TensorProto.FLOAT, ["N", 2])]
    return graphs.model(nodes, inputs, outputs, constants)


def texts(n: int, length: int = 12, vocabulary: int = 50) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Ids and masks of texts of several lengths."""
    rng = np.random.default_rng(2)
    mask = (np.arange(length) < rng.integers(1, length + 1, size=(n, 1))).astype(np.int64)
    return {"ids": rng.integers(0, vocabulary, size=(n, length)) * mask, "mask": mask}


def text_with_nan_vectors() -> bytes:
    """`text` whose `pooled` is NaN, and whose logits are not."""
    proto = onnx.load_from_string(text())
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [INNER if name == "pooled" else name for name in names]
    proto.graph.node.append(helper.make_node("Mul", [INNER, "nan"], ["pooled"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
    return proto.SerializeToString()


def only_one_row() -> bytes:
    """image [batch, 1, 8, 8] -> logits [batch, 4], with a shape inside that holds one row only."""
    proto = onnx.load_from_string(convolutional())
    (flatten,) = (node for node in proto.graph.node if node.op_type == "Flatten")
    reshape = helper.make_node("Reshape", [flatten.input[0], "one_row"], [flatten.output[0]])
    flatten.CopyFrom(reshape)
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1, 1024], np.int64), "one_row"))
    return proto.SerializeToString()
