"""Small ONNX models, made on the spot: each returns the bytes of a file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(4096, dtype=np.float32).reshape(64, 64)
EYE = np.eye(64, dtype=np.float32)


def value(name: str, elem_type: int, shape: Sequence[int | str | None] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    **more: Any,
) -> bytes:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    opsets = [helper.make_opsetid("", more.pop("opset", 18)), helper.make_opsetid("ai.onnx.ml", 3)]
    opsets += [helper.make_opsetid(function.domain, 1) for function in functions]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions), **more)
    return made.SerializeToString()


def identity(elem_type: int = TensorProto.FLOAT, shape: Sequence[int | str | None] | None = ("N", 4)) -> bytes:
    return model(
        [helper.make_node("Identity", ["x"], ["y"])], [value("x", elem_type, shape)], [value("y", elem_type, shape)]
    )


def linear(rows: int = 64, columns: int = 10, seed: int = 0) -> bytes:
    """A tiny network: x [N, rows] -> y [N, columns]."""
    weights = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    return matmul(numpy_helper.from_array(weights, "w"), rows, columns)


def matmul(weights: onnx.TensorProto, rows: int = 64, columns: int = 64) -> bytes:
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", rows])],
        [value("y", TensorProto.FLOAT, ["N", columns])],
        [weights],
    )


def mlp(layers: int, width: int = 512, seed: int = 0) -> bytes:
    """`layers` of `width` x `width` float32, so `layers` MiB at 512."""
    rng = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array((rng.standard_normal((width, width)) * 0.04).astype(np.float32), f"w{i}")
        for i in range(layers)
    ]
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(layers)]
    return model(
        nodes,
        [value("x0", TensorProto.FLOAT, ["N", width])],
        [value(f"x{layers}", TensorProto.FLOAT, ["N", width])],
        weights,
    )


def stored_outside(array: np.ndarray[Any, Any], name: str, location: str, offset: int = 0) -> onnx.TensorProto:
    """A tensor whose data lie in the file `location`, at `offset`."""
    tensor = numpy_helper.from_array(array, name)
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return tensor


def external_in_subgraph(location: str) -> bytes:
    then = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["a"])],
        "then",
        [],
        [value("a", TensorProto.FLOAT, ["N", 64])],
        [stored_outside(WEIGHTS, "w", location)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])], "else", [], [value("b", TensorProto.FLOAT, ["N", 64])]
    )
    return model(
        [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)],
        [value("x", TensorProto.FLOAT, ["N", 64]), value("c", TensorProto.BOOL, [])],
        [value("y", TensorProto.FLOAT, ["N", 64])],
    )


def external_in_function(location: str) -> bytes:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=stored_outside(WEIGHTS, "w", location)),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    function = helper.make_function("f", "F", ["x"], ["y"], nodes, [helper.make_opsetid("", 18)])
    return model(
        [helper.make_node("F", ["x"], ["y"], domain="f")],
        [value("x", TensorProto.FLOAT, ["N", 64])],
        [value("y", TensorProto.FLOAT, ["N", 64])],
        functions=[function],
    )


def external_in_constant(location: str) -> bytes:
    return model(
        [
            helper.make_node("Constant", [], ["w"], value=stored_outside(WEIGHTS, "w", location)),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        [value("x", TensorProto.FLOAT, ["N", 64])],
        [value("y", TensorProto.FLOAT, ["N", 64])],
    )


def loop(factor: float = 0.0) -> bytes:
    """Multiplies `x` [64, 64] by `factor` `n` times: a run that lasts as long as one likes, in short operators."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("MatMul", ["v", "w"], ["v2"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, [64, 64])],
        [value("c2", TensorProto.BOOL, []), value("v2", TensorProto.FLOAT, [64, 64])],
    )
    return model(
        [helper.make_node("Loop", ["n", "go", "x"], ["y"], body=body)],
        [value("n", TensorProto.INT64, []), value("x", TensorProto.FLOAT, [64, 64])],
        [value("y", TensorProto.FLOAT, [64, 64])],
        [numpy_helper.from_array(np.array(True), "go"), numpy_helper.from_array(EYE * np.float32(factor), "w")],
    )


def counting(*, endless: bool) -> bytes:
    """Adds 1 to `x` [N, 2] until a number is 10 or more; or for ever, for its condition never turns false."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "one"], ["v2"]),
            helper.make_node("ReduceMax", ["v2"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "limit"], ["c2"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, ["N", 2])],
        [value("c2", TensorProto.BOOL, []), value("v2", TensorProto.FLOAT, ["N", 2])],
    )
    limit = np.float32(np.inf if endless else 10)
    return model(
        [helper.make_node("Loop", ["", "go", "x"], ["y"], body=body)],
        [value("x", TensorProto.FLOAT, ["N", 2])],
        [value("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.array(True), "go"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
            numpy_helper.from_array(np.array(limit), "limit"),
        ],
    )


def slow_to_load(size: int = 1500) -> bytes:
    """Multiplies `size` x `size` constants, which ONNX Runtime folds at load, in operators that nothing interrupts.

    On a quick machine 1500 takes about half a second and 8000 a minute.
    """
    nodes = [helper.make_node("ConstantOfShape", ["s"], ["a0"])]
    nodes += [helper.make_node("MatMul", [f"a{i}", f"a{i}"], [f"a{i + 1}"]) for i in range(6)]
    return model(
        nodes, [], [value("a6", TensorProto.FLOAT, None)], [numpy_helper.from_array(np.array([size] * 2), "s")]
    )


def greedy(bytes_: int) -> bytes:
    """A graph of 66 bytes that asks for `bytes_` of memory when run."""
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["s"], ["y"])],
        "",
        [],
        [value("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("s", TensorProto.INT64, [1], [bytes_ // 4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4, producer_name="")
    return made.SerializeToString()


def ones() -> bytes:
    """y = float32 of shape s, an input of shape [1]."""
    return model(
        [helper.make_node("ConstantOfShape", ["s"], ["y"])],
        [value("s", TensorProto.INT64, [1])],
        [value("y", TensorProto.FLOAT, [None])],
    )


def rows_squared() -> bytes:
    """y = rowsums(x @ x.T): memory that grows with the square of the rows, for one input of shape [N, 1]."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["square"]),
        helper.make_node("ReduceSum", ["square", "axes"], ["y"], keepdims=1),
    ]
    axes = numpy_helper.from_array(np.asarray([1]), "axes")
    column = ("N", 1)
    return model(nodes, [value("x", TensorProto.FLOAT, column)], [value("y", TensorProto.FLOAT, column)], [axes])


def burner(links: int, size: int = 256) -> bytes:
    """x [N, 4] -> y [N]: each row takes as long as `links` products of `size` x `size`, and no memory."""
    unit = np.eye(size, dtype=np.float32)[::-1]  # a permutation: values stay what they are, and nothing is folded
    names = [f"m{i}" for i in range(links + 1)]
    nodes = [
        helper.make_node("ReduceSum", ["x", "axis"], ["s"], keepdims=1),
        helper.make_node("Unsqueeze", ["s", "axis"], ["s3"]),
        helper.make_node("Mul", ["s3", "w"], ["m0"]),
        *(helper.make_node("MatMul", [before, "w"], [after]) for before, after in itertools.pairwise(names)),
        helper.make_node("ReduceMean", [names[-1], "axes"], ["y"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(unit, "w"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
    ]
    return model(nodes, [value("x", TensorProto.FLOAT, ["N", 4])], [value("y", TensorProto.FLOAT, ["N"])], constants)
