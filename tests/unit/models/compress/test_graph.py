"""The main graph: which weights are found, and every refusal, each in one sentence that names the node."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import graph as graphs
from models.compress.checks import NotApplied
from models.compress.preprocess import Preprocess, preprocess
from models.compress.registry import TECHNIQUES
from models.compress.technique import Material
from tests.unit.models.compress.conftest import load
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime.graphs import external_in_constant, linear, mlp, model, stored_outside, value

ROWS = [value("x", TensorProto.FLOAT, ["N", 8])]
OUT = [value("y", TensorProto.FLOAT, ["N", 8])]
W = numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")


def read(data: bytes) -> onnx.ModelProto:
    return graphs.read(data, "a step")


def found(data: bytes, *op_types: str, exclude: tuple[str, ...] = (), **more: bool) -> list[str]:
    weighted = graphs.weighted(read(data), op_types or ("MatMul",), "a step", exclude, **more)
    return [one.weight.name for one in weighted]


def twice() -> bytes:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], name="one")]
    nodes.append(helper.make_node("MatMul", ["a", "w"], ["y"], name="two"))
    return model(nodes, ROWS, OUT, [W])


def in_a_branch() -> bytes:
    inner = helper.make_node("MatMul", ["x", "w"], ["a"], name="inner")
    then = helper.make_graph([inner], "then", [], [value("a", TensorProto.FLOAT, ["N", 8])])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["b"])], "else", [], [value("b", TensorProto.FLOAT, ["N", 8])]
    )
    nodes = [
        helper.make_node("If", ["flag"], ["c"], name="choice", then_branch=then, else_branch=other),
        helper.make_node("MatMul", ["c", "v"], ["y"], name="after"),
    ]
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    return model(nodes, [*ROWS, flag], OUT, [W, numpy_helper.from_array(np.eye(8, dtype=np.float32), "v")])


def in_a_function() -> bytes:
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    function = helper.make_function("own", "Product", ["a", "b"], ["c"], body, [helper.make_opsetid("", 18)])
    return model([helper.make_node("Product", ["x", "w"], ["y"], domain="own")], ROWS, OUT, [W], [function])


def test_weights_come_in_the_order_of_the_graph() -> None:
    assert found(mlp(3, 16)) == ["w0", "w1", "w2"]
    assert found(convolutional(), "Conv", "Gemm") == ["kernel", "w"]


def test_excluded_nodes_are_left_out_and_must_exist() -> None:
    nodes = [node.name for node in read(mlp(2, 16)).graph.node]
    assert found(mlp(2, 16), exclude=(nodes[0],)) == ["w1"]
    with pytest.raises(NotApplied, match="a step is to leave 'nodde' alone, and the graph has no node of that name"):
        found(mlp(2, 16), exclude=("nodde",))


def test_products_of_two_computed_operands_have_no_weight() -> None:
    product = model([helper.make_node("MatMul", ["x", "x"], ["y"])], [value("x", 1, [8, 8])], [value("y", 1, [8, 8])])
    with pytest.raises(NotApplied, match="a step finds no MatMul with a constant float32 weight"):
        found(product)
    assert found(product, may_lack=True) == []


def test_a_weight_used_twice_is_refused_unless_all_users_may_see_the_change() -> None:
    with pytest.raises(NotApplied, match="weight 'w' of node 'one': it is used 2 times; exclude_nodes would leave"):
        found(twice())
    assert found(twice(), may_share=True) == ["w", "w"]


def test_a_weight_that_a_caller_may_replace_is_refused() -> None:
    data = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [*ROWS, value("w", 1, [8, 8])], OUT, [W])
    with pytest.raises(NotApplied, match="'w' of node 'MatMul_y': it is also an input of the graph"):
        found(data)


def test_weights_in_a_branch_are_refused_until_its_node_is_excluded() -> None:
    with pytest.raises(NotApplied, match=r"subgraphs of node 'choice' \(If\), which hold MatMul; exclude_nodes would"):
        found(in_a_branch())
    assert found(in_a_branch(), exclude=("choice",)) == ["v"]


@pytest.mark.parametrize("name", ["int8_static", "int8_dynamic", "int8_per_row", "int4", "prune_magnitude", "low_rank"])
def test_every_technique_refuses_what_it_would_not_see(name: str) -> None:
    technique, rows = TECHNIQUES[name], {"x": np.ones((4, 8), dtype=np.float32), "flag": np.array(True)}
    with pytest.raises(NotApplied, match=rf"{name} does not look into the subgraphs of node 'choice' \(If\)"):
        technique.run(in_a_branch(), technique.arguments(), Material(rows))


def test_weights_in_a_function_are_refused_until_it_is_resolved() -> None:
    with pytest.raises(NotApplied, match="does not look into function 'Product'; preprocess resolves functions"):
        found(in_a_function())
    assert found(preprocess(in_a_function(), Preprocess())) == ["w"]


def test_weights_outside_the_file_are_refused() -> None:
    tensor = stored_outside(np.zeros((8, 8), dtype=np.float32), "w", "weights.bin")
    data = model([helper.make_node("MatMul", ["x", "w"], ["y"])], ROWS, OUT, [tensor])
    with pytest.raises(NotApplied, match="a step needs every weight inside the file, and 'w' is kept outside it"):
        read(data)
    with pytest.raises(NotApplied, match="'w' is kept outside it"):
        read(external_in_constant("weights.bin"))


@pytest.mark.parametrize(("opset", "read_at_all"), [(12, False), (13, True)])
def test_old_opsets_are_refused(opset: int, read_at_all: bool) -> None:
    data = model([helper.make_node("MatMul", ["x", "w"], ["y"])], ROWS, OUT, [W], opset=opset)
    if read_at_all:
        assert found(data) == ["w"]
        return
    with pytest.raises(NotApplied, match="a step needs opset 13 or newer, and the model has 12: export it anew"):
        read(data)


def test_a_constant_node_counts_as_a_weight() -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.eye(8, dtype=np.float32))),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    data = model(nodes, ROWS, OUT)
    assert found(data) == ["w"]
    rows = {"x": np.random.default_rng(0).random((3, 8), dtype=np.float32)}
    assert np.array_equal(load(graphs.write(read(data))).run(rows)["y"], load(data).run(rows)["y"])


def test_every_node_gets_a_name_of_its_own_and_keeps_one_it_has() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"], name="r"), helper.make_node("Relu", ["a"], ["b"], name="r")]
    nodes += [helper.make_node("Relu", ["b"], ["c"]), helper.make_node("Relu", ["c"], ["y"])]
    names = [node.name for node in read(model(nodes, ROWS, OUT)).graph.node]
    assert names == ["r", "r_2", "Relu_c", "Relu_y"]


def test_what_no_node_uses_is_not_written() -> None:
    proto = read(linear())
    graphs.add(proto.graph, "idle", np.zeros(3, dtype=np.float32))
    assert [tensor.name for tensor in onnx.load_from_string(graphs.write(proto)).graph.initializer] == ["w"]


def test_new_names_do_not_clash() -> None:
    proto = read(linear())
    assert graphs.add(proto.graph, "w", np.zeros(1, dtype=np.float32)) == "w_2"
    assert graphs.add(proto.graph, "y", np.zeros(1, dtype=np.float32)) == "y_2"
    assert graphs.fresh("new", graphs.names(proto.graph)) == "new"


def test_a_value_told_of_a_weight_is_dropped() -> None:
    """The torch exporter leaves there the shape from before a weight was turned."""
    proto = onnx.load_from_string(linear())
    proto.graph.value_info.append(value("w", TensorProto.FLOAT, [10, 64]))
    assert [info.name for info in read(proto.SerializeToString()).graph.value_info] == []
