"""What is read off files: hashes, sizes, graph, producer."""

import hashlib
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import describe
from models.compress.int4 import int4
from models.compress.int8_static import Int8Static, int8_static
from models.compress.int8_weights import int8_weights
from models.compress.nbits import Blocks
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from tests.unit.models.compress.networks import convolutional, images
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value


def test_files_are_listed_by_hash_and_size() -> None:
    found = describe.file_entries({"model.onnx": b"graph", "golden.npz": b""})
    assert list(found) == ["golden.npz", "model.onnx"]
    assert (found["model.onnx"].sha256, found["model.onnx"].bytes) == (hashlib.sha256(b"graph").hexdigest(), 5)


def test_a_graphs_operators_and_parameters() -> None:
    found = describe.graph(convolutional())
    assert found.op_counts == {"Conv": 1, "Flatten": 1, "Gemm": 1, "Relu": 1}
    assert found.opset[""] == 18
    assert found.parameters == found.non_zero_parameters == 16 * 9 + 1024 * 4 + 4
    assert found.parent_op_counts is None


def test_zeros_are_counted_out_and_shapes_are_no_parameters() -> None:
    weights = numpy_helper.from_array(np.array([[1, 0], [0, 2]], dtype=np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 2], dtype=np.int64), "shape")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Reshape", ["m", "shape"], ["y"])]
    ends = [value(name, TensorProto.FLOAT, ["N", 2]) for name in "xy"]
    found = describe.graph(graphs.model(nodes, ends[:1], ends[1:], [weights, shape]))
    assert (found.parameters, found.non_zero_parameters) == (4, 2)


def test_quantisation_adds_operators_and_no_parameters() -> None:
    full = convolutional()
    quantised = int8_static(preprocess(full, Preprocess()), Int8Static(), Material(images()))
    found = describe.graph(quantised, parent=full)
    assert found.parameters == describe.graph(full).parameters
    assert found.parent_op_counts == describe.graph(full).op_counts
    assert found.op_counts["DequantizeLinear"] > 0


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("technique", [int4, int8_weights])
def test_numbers_that_share_a_byte_are_counted_each(technique: Any, symmetric: bool) -> None:
    """72 rows: the last block is half empty, and what fills it is no weight."""
    weights = np.random.default_rng(0).choice([-1.0, 1.0], (72, 24)).astype(np.float32)
    weights[:, :5] = 0
    full = graphs.matmul(numpy_helper.from_array(weights, "w"), 72, 24)
    found = describe.graph(technique(full, Blocks(symmetric=symmetric)), parent=full)
    assert (found.parameters, found.non_zero_parameters) == (72 * 24, 72 * 19)


def test_the_producer_names_versions_and_no_place() -> None:
    found = describe.producer()
    assert {"numpy", "onnx", "onnxruntime"} <= found.libraries.keys()
    assert all(version[0].isdigit() for version in found.libraries.values())
    assert "/" not in found.machine
