"""What a client sends must not say how large an output becomes or how much there is to do: its shapes may."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from service.repository.onnx_file import read_onnx_facts
from service.repository.onnx_steady import GRAPH, INPUT, NODE, NODES_LIMIT, SIZED, STEADY, TENSOR, TENSOR_TYPE, TYPE
from service.repository.protobuf_wire import Rule
from tests.unit.repository.onnx_models import graph, model, value


def node(op_type: str, inputs: str, outputs: str, **attributes: object) -> NodeProto:
    return helper.make_node(op_type, inputs.split(","), outputs.split(","), **attributes)


def steady(*nodes: NodeProto) -> bool:
    """Of a graph with the input `x`, and perhaps others, and the initializer `w`."""
    weight = numpy_helper.from_array(np.array([2, 3]), "w")
    return read_onnx_facts(model(graph(list(nodes), [weight])).SerializeToString()).steady


def constant(output: str) -> NodeProto:
    return helper.make_node("Constant", [], [output], value_ints=[2, 3])


@pytest.mark.parametrize("op_type", sorted(SIZED))
def test_whoever_sends_a_size_chooses_the_work(op_type: str) -> None:
    data = ",".join(["x"] * SIZED[op_type].start)
    assert not steady(node(op_type, f"{data},n".strip(","), "y"))
    assert steady(node(op_type, f"{data},w".strip(","), "y"))


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([constant("c"), node("Expand", "x,c", "y")], True),
        ([node("Resize", "x,,w", "y")], True),
        ([node("Resize", "x,,,n", "y")], False),
        ([node("Pad", "x,w,v", "y")], False),  # the value that fills it, by which nothing grows: not told apart
        ([node("Shape", "x", "s"), node("Expand", "w,s", "y")], True),
        # as PyTorch writes the first state of an LSTM
        (
            [
                node("Shape", "x", "s"),
                constant("i"),
                node("Gather", "s,i", "b"),
                node("Concat", "w,b,w", "h", axis=0),
                node("ConstantOfShape", "h", "z"),
                node("Mul", "z,x", "y"),
            ],
            True,
        ),
        ([node("Add", "w,n", "s"), node("ConstantOfShape", "s", "y")], False),
        ([node("Shape", "x", "s"), node("Mul", "s,n", "t"), node("Range", "w,t,w", "y")], False),
        # what a client reshapes says by its shape what the client chose
        ([node("Reshape", "x,n", "r"), node("Shape", "r", "s"), node("Expand", "x,s", "y")], False),
        ([node("Slice", "x,w,n", "y")], False),
        ([node("Relu", "x", "y")], True),
        ([node("LSTM", "x,w,w,,w,n,n", "y", hidden_size=1)], True),  # a first state changes nothing
        ([node("LSTM", "x,w,w,,,n,n", "y", hidden_size=1)], True),
        ([node("TopK", "x,w", "y,i")], False),  # of rising numbers it takes many times as long
        ([node("Loop", "w,w,x", "y", body=graph())], False),
    ],
)
def test_shapes_may_say_sizes_and_values_may_not(nodes: list[NodeProto], expected: bool) -> None:
    assert steady(*nodes) is expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("LabelEncoder", "t", "l", domain="ai.onnx.ml"), node("Gather", "w,l", "y")], True),
        ([node("Concat", "t,t", "c", axis=0), node("OneHotEncoder", "c", "y", domain="ai.onnx.ml")], True),
        ([node("ArrayFeatureExtractor", "t,w", "y", domain="ai.onnx.ml")], True),
        ([node("Gather", "t,x", "y")], False),
        ([node("Identity", "t", "u"), node("GatherND", "u,x", "y")], False),
        ([node("Equal", "t,w", "e"), node("Where", "e,x,x", "y")], True),
        ([node("Equal", "t,w", "e"), node("Where", "e,w,t", "y")], False),
        ([node("Expand", "t,w", "y")], False),
        ([node("Where", "x,x,x", "y")], True),
    ],
)
def test_no_client_may_have_a_long_text_copied_many_times(nodes: list[NodeProto], expected: bool) -> None:
    of = graph(nodes, [numpy_helper.from_array(np.array([2, 3]), "w")])
    of.input.append(value("t", TensorProto.STRING))
    assert read_onnx_facts(model(of).SerializeToString()).steady is expected


def test_a_size_inside_a_function_is_not_followed() -> None:
    of = model(graph([helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx.local")]))
    body = [node("Expand", "a,b", "c")]
    of.functions.append(helper.make_function("ai.onnx.local", "Relu", ["a", "b"], ["c"], body, of.opset_import))
    assert not read_onnx_facts(of.SerializeToString()).steady


@pytest.mark.parametrize(("nodes", "expected"), [(NODES_LIMIT, True), (NODES_LIMIT + 1, False)])
def test_graphs_whose_runs_are_long_anyway_are_not_looked_into(nodes: int, expected: bool) -> None:
    assert steady(*[node("Relu", "x", f"y{number}") for number in range(nodes)]) is expected


def test_names_that_nobody_can_read_make_no_file_broken() -> None:
    data = model(graph([node("Relu", "xyz", "y")])).SerializeToString().replace(b"xyz", b"x\xffz")
    assert not read_onnx_facts(data).steady


def test_no_operator_is_in_both_lists() -> None:
    assert not STEADY & SIZED.keys()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("GraphProto", GRAPH),
        ("NodeProto", NODE),
        ("TensorProto", TENSOR),
        ("ValueInfoProto", INPUT),
        ("TypeProto", TYPE),
        ("TypeProto.Tensor", TENSOR_TYPE),
    ],
)
def test_the_tables_are_those_of_the_onnx_package(name: str, table: dict[int, Rule]) -> None:
    outer, *inner = name.split(".")
    described = TensorProto.DESCRIPTOR.file.message_types_by_name[outer]
    for each in inner:
        described = described.nested_types_by_name[each]
    fields = described.fields_by_number
    names = {fields[number].name for number in table}
    assert names <= {"node", "initializer", "input", "output", "op_type", "name", "type", "tensor_type", "elem_type"}
    assert [table[number].once for number in table] == [not fields[number].is_repeated for number in table]
