"""Signatures of real sessions: what is served, omitted and refused."""

from __future__ import annotations

from types import SimpleNamespace

import onnxruntime
import pytest
from onnx import TensorProto, helper

from service.core.contract import DTYPES, TensorSpec
from service.core.errors import BadModel
from service.runtime.signature import Signature, read_signature
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value


def signature(onnx: bytes) -> Signature:
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return read_signature(session.get_inputs(), session.get_outputs())


@pytest.mark.parametrize(
    ("elem_type", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.UINT16, "UINT16"),
        (TensorProto.UINT32, "UINT32"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.STRING, "BYTES"),
    ],
)
def test_every_datatype_of_the_protocol(elem_type: int, datatype: str) -> None:
    read = signature(graphs.identity(elem_type))
    assert read.inputs == (TensorSpec("x", datatype, ("N", 4)),)
    assert read.outputs == (TensorSpec("y", datatype, ("N", 4)),)
    assert read.inputs[0].datatype in DTYPES


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        (["batch", 3, 32], ("batch", 3, 32)),
        ([None, 3], (None, 3)),
        ([2], (2,)),
        ([0, 3], (0, 3)),
        ([], ()),
        (None, ()),  # unknown rank: ONNX Runtime does not tell it from a scalar
    ],
)
def test_dims(shape: list[int | str | None] | None, dims: tuple[int | str | None, ...]) -> None:
    assert signature(graphs.identity(shape=shape)).inputs[0].dims == dims


def test_outputs_that_are_no_tensors_are_omitted_by_name() -> None:
    onnx = graphs.model(
        [
            helper.make_node("SequenceConstruct", ["x", "x"], ["pair"]),
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", classlabels_int64s=[1, 2]),
        ],
        [value("x", TensorProto.FLOAT, ["N", 2])],
        [
            helper.make_tensor_sequence_value_info("pair", TensorProto.FLOAT, None),
            value("y", TensorProto.FLOAT, ["N", 2]),
            helper.make_value_info(
                "scores",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
                    )
                ),
            ),
        ],
    )
    read = signature(onnx)
    assert [spec.name for spec in read.outputs] == ["y"]
    assert read.omitted_outputs == ("pair", "scores")


def test_a_model_without_any_tensor_output_is_refused() -> None:
    onnx = graphs.model(
        [helper.make_node("SequenceConstruct", ["x"], ["s"])],
        [value("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)],
    )
    with pytest.raises(BadModel, match="none of the model's outputs is a tensor"):
        signature(onnx)


def test_an_input_that_is_no_tensor_is_refused() -> None:
    onnx = graphs.model(
        [helper.make_node("SequenceAt", ["s", "i"], ["y"])],
        [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [2]), value("i", TensorProto.INT64, [])],
        [value("y", TensorProto.FLOAT, [2])],
    )
    with pytest.raises(BadModel, match=r"input 's' is of type seq\(tensor\(float\)\); only plain tensors are served"):
        signature(onnx)


def test_bf16_is_refused_with_what_to_do() -> None:
    with pytest.raises(BadModel, match="input 'x' is BF16, which is not served: cast it to FP32 inside the graph"):
        signature(graphs.identity(TensorProto.BFLOAT16))
    onnx = graphs.model(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)],
        [value("x", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.BFLOAT16, [2])],
    )
    with pytest.raises(BadModel, match="output 'y' is BF16"):
        signature(onnx)


def test_a_type_outside_the_protocol_is_refused() -> None:
    node = SimpleNamespace(name="x", type="tensor(float8e4m3fn)", shape=[1])
    with pytest.raises(BadModel, match=r"output 'x' is of type tensor\(float8e4m3fn\), which is not served"):
        read_signature([], [node])


def test_an_input_with_a_default_is_not_asked_for() -> None:
    onnx = graphs.model(
        [helper.make_node("Add", ["x", "b"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", 2]), value("b", TensorProto.FLOAT, [2])],
        [value("y", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )
    assert [spec.name for spec in signature(onnx).inputs] == ["x"]


def test_an_output_that_the_graph_names_twice_is_one() -> None:
    node, output = helper.make_node("Neg", ["x"], ["y"]), value("y", TensorProto.FLOAT, ["N", 4])
    read = signature(graphs.model([node], [value("x", TensorProto.FLOAT, ["N", 4])], [output, output]))
    assert read.outputs == (TensorSpec("y", "FP32", ("N", 4)),)
