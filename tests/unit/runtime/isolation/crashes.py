"""Models that harm the process that runs them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.unit.runtime.graphs import model, value

KILLER = 1_000_000  # the row that ends the process
_LEAST = -(2**63)
_ABOVE = KILLER + 1


def divides() -> bytes:
    """y = -2^63 / (x - 1000001), int64 [N, 1]: the quotient of one row is too large, which is SIGFPE.

    ONNX Runtime 1.31 looks for a divisor of 0, and not for one of -1.
    """
    least = numpy_helper.from_array(np.array([[_LEAST]], np.int64), "least")
    above = numpy_helper.from_array(np.array([[_ABOVE]], np.int64), "above")
    return model(
        [helper.make_node("Sub", ["x", "above"], ["below"]), helper.make_node("Div", ["least", "below"], ["y"])],
        [value("x", TensorProto.INT64, ["N", 1])],
        [value("y", TensorProto.INT64, ["N", 1])],
        [least, above],
    )


def quotients(x: np.ndarray) -> np.ndarray:
    """What `divides` answers, for what it survives."""
    return np.array([[-_LEAST // (_ABOVE - int(row))] for row in x.ravel()], np.int64)


def takes() -> bytes:
    """y = the sum of n ones, n int64 [1]: it takes 4 n bytes on the way."""
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    nodes = [
        helper.make_node("Expand", ["one", "n"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["y"], keepdims=1),
    ]
    return model(nodes, [value("n", TensorProto.INT64, [1])], [value("y", TensorProto.FLOAT, [1])], [one])
