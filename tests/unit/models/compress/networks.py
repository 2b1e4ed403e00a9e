"""Small networks worth quantising, made on the spot."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value


def _weight(name: str, *shape: int) -> onnx.TensorProto:
    rng = np.random.default_rng(sum(shape))
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.3).astype(np.float32), name)


def convolutional() -> bytes:
    """image [batch, 1, 8, 8] -> logits [batch, 4]: Conv, Relu, Flatten, Gemm; 4 KiB of weights in the Gemm."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "bias"], ["logits"]),
    ]
    weights = [_weight("kernel", 16, 1, 3, 3), _weight("w", 1024, 4), _weight("bias", 4)]
    return graphs.model(
        nodes,
        [value("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [value("logits", TensorProto.FLOAT, ["batch", 4])],
        weights,
    )


def images(n: int = 32) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {"image": np.random.default_rng(1).random((n, 1, 8, 8), dtype=np.float32)}
