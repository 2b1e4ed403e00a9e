"""The versions that serving is tested with: tiny ONNX files whose answers tell who gave them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.unit.runtime.graphs import identity, model, stored_outside, value

FLOAT = TensorProto.FLOAT
ROW = ["N", 4]
WEIGHTS = np.arange(4, dtype=np.float32)

ELEMENT_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def copies(datatype: str) -> bytes:
    """y = x, of any datatype."""
    return identity(ELEMENT_TYPES[datatype])


def scales(factor: float, opset: int = 18) -> bytes:
    """y = x * factor, for x [N, 4]: two versions of it answer differently."""
    return model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW)],
        [numpy_helper.from_array(np.float32([factor]), "factor")],
        opset=opset,
    )


def scales_wide(factor: float) -> bytes:
    """The same, but its input has 5 columns."""
    return model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [value("x", FLOAT, ["N", 5])],
        [value("y", FLOAT, ["N", 5])],
        [numpy_helper.from_array(np.float32([factor]), "factor")],
    )


def inverts() -> bytes:
    """y = 1 / x: infinite where x is 0."""
    return model([helper.make_node("Reciprocal", ["x"], ["y"])], [value("x", FLOAT, ROW)], [value("y", FLOAT, ROW)])


def adds_stored_outside(location: str = "w.bin") -> bytes:
    """y = x + w, where w lies in another file."""
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW)],
        [stored_outside(WEIGHTS, "w", location)],
    )


def sum_and_difference() -> bytes:
    """Two inputs of different datatypes, two outputs."""
    return model(
        [
            helper.make_node("Cast", ["b"], ["b32"], to=FLOAT),
            helper.make_node("Add", ["a", "b32"], ["sum"]),
            helper.make_node("Sub", ["a", "b32"], ["difference"]),
        ],
        [value("a", FLOAT, ROW), value("b", TensorProto.INT64, ROW)],
        [value("sum", FLOAT, ROW), value("difference", FLOAT, ROW)],
    )


def row_sums() -> bytes:
    """y [N] = sum of x [N, T] over T, for any T."""
    axes = numpy_helper.from_array(np.int64([1]), "axes")
    return model(
        [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)],
        [value("x", FLOAT, ["N", "T"])],
        [value("y", FLOAT, ["N"])],
        [axes],
    )


def softmax_over_rows() -> bytes:
    """A first axis with a name that is no batch."""
    return model(
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)], [value("x", FLOAT, ROW)], [value("y", FLOAT, ROW)]
    )


def one_row_only() -> bytes:
    """Takes a named axis and answers one row."""
    shape = numpy_helper.from_array(np.int64([1, 4]), "shape")
    return model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW)],
        [shape],
    )


def reads_one_row_at_a_time() -> bytes:
    """y = x times itself: the shapes promise a batch, and two rows do not run."""
    shape = numpy_helper.from_array(np.int64([1, 4]), "shape")
    return model(
        [helper.make_node("Reshape", ["x", "shape"], ["row"]), helper.make_node("Mul", ["x", "row"], ["y"])],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW)],
        [shape],
    )


def quantises_dynamically() -> bytes:
    """Rounds to 256 steps of the whole tensor's range, so a row's answer depends on its batch-mates."""
    return model(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW)],
    )


def splits_words() -> bytes:
    """Words of each text, padded to the longest text of the batch: an answer's shape depends on its batch-mates."""
    return model(
        [helper.make_node("StringSplit", ["x"], ["y", "count"], delimiter=" ")],
        [value("x", TensorProto.STRING, ["N"])],
        [value("y", TensorProto.STRING, ["N", "M"]), value("count", TensorProto.INT64, ["N"])],
        opset=20,
    )


def reads_numbers() -> bytes:
    """Numbers out of their texts, less the largest of the batch; fails on any other text."""
    return model(
        [
            helper.make_node("Cast", ["x"], ["number"], to=FLOAT),
            helper.make_node("ReduceMax", ["number"], ["most"], keepdims=1),
            helper.make_node("Sub", ["number", "most"], ["y"]),
        ],
        [value("x", TensorProto.STRING, ["N"])],
        [value("y", FLOAT, ["N"])],
    )


def never_runs() -> bytes:
    """Loads, and fails on whatever it is given: 4 values have no shape [3]."""
    shape = numpy_helper.from_array(np.int64([3]), "shape")
    return model(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ["M"])],
        [shape],
    )


def draws_lots() -> bytes:
    """y = x + noise: no two answers are alike."""
    return model(
        [
            helper.make_node("RandomNormalLike", ["x"], ["noise"]),
            helper.make_node("Add", ["x", "noise"], ["y"]),
            helper.make_node("Identity", ["x"], ["same"]),
        ],
        [value("x", FLOAT, ROW)],
        [value("y", FLOAT, ROW), value("same", FLOAT, ROW)],
    )


def rows(*first: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """x [rows, 4], row i filled with first[i]."""
    return np.repeat(np.float32(first).reshape(-1, 1), 4, axis=1)


def turns(count: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Inputs of `graphs.loop()` that keep it busy for `count` turns of some ten microseconds."""
    return {"n": np.asarray(count, np.int64), "x": np.ones((64, 64), np.float32)}
