"""Preprocessing cleans the graph and changes no answer."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress.checks import NotApplied, op_counts
from models.compress.preprocess import Preprocess, preprocess
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.models.compress.networks import convolutional, images
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value


def answers(model: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1)).run(images())["logits"]


def with_a_constant_sum() -> bytes:
    """y = x + (a + b): the inner sum can be folded."""
    constants = [numpy_helper.from_array(np.ones(4, dtype=np.float32), name) for name in "ab"]
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    ends = [value(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    return graphs.model(nodes, ends[:1], ends[1:], constants)


def test_answers_do_not_change() -> None:
    assert np.array_equal(answers(preprocess(convolutional(), Preprocess())), answers(convolutional()))


def test_inner_shapes_are_known_afterwards() -> None:
    before = onnx.load_from_string(convolutional())
    after = onnx.load_from_string(preprocess(convolutional(), Preprocess()))
    assert len(before.graph.value_info) == 0
    assert {info.name for info in after.graph.value_info} >= {"c", "f"}


@pytest.mark.parametrize(("optimise", "adds"), [(True, 1), (False, 2)])
def test_constants_are_folded_when_asked(optimise: bool, adds: int) -> None:
    assert op_counts(preprocess(with_a_constant_sum(), Preprocess(optimise=optimise)))["Add"] == adds


def test_every_node_has_a_name_afterwards() -> None:
    before, after = (onnx.load_from_string(one) for one in (convolutional(), preprocess(convolutional(), Preprocess())))
    assert {node.name for node in before.graph.node} == {""}
    names = [node.name for node in after.graph.node]
    assert names == ["Conv_c", "Relu_r", "Flatten_f", "Gemm_logits"]


def test_no_opset_is_left_that_no_node_uses() -> None:
    cleaned = onnx.load_from_string(preprocess(convolutional(), Preprocess()))
    assert [entry.domain for entry in cleaned.opset_import] == [""]


def test_an_opset_that_is_used_stays_even_in_a_subgraph() -> None:
    ends = [value("x", TensorProto.FLOAT, ["N", 4]), value("y", TensorProto.FLOAT, ["N", 4])]
    inner = [helper.make_node("Gelu", ["x"], ["g"], domain="com.microsoft")]
    branch = helper.make_graph(inner, "then", [], [value("g", TensorProto.FLOAT, ["N", 4])])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["i"])], "else", [], [value("i", TensorProto.FLOAT, ["N", 4])]
    )
    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=other)
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "g", [ends[0], flag], ends[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    cleaned = onnx.load_from_string(preprocess(model, Preprocess()))
    assert {entry.domain for entry in cleaned.opset_import} == {"", "com.microsoft"}


def with_a_slice_of_positions() -> bytes:
    """What exporters make of position embeddings: as many of the table's rows as the text has tokens."""
    nodes = [
        helper.make_node("Shape", ["ids"], ["length"], start=1, end=2),
        helper.make_node("Slice", ["table", "zero", "length", "zero"], ["positions"]),
        helper.make_node("Gather", ["table", "ids"], ["tokens"]),
        helper.make_node("Add", ["tokens", "positions"], ["y"]),
    ]
    table = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    constants = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([0]), "zero")]
    ends = [value("ids", TensorProto.INT64, ["N", "L"]), value("y", TensorProto.FLOAT, ["N", "L", 4])]
    return graphs.model(nodes, ends[:1], ends[1:], constants)


def test_a_graph_without_symbolic_shapes_is_cleaned_all_the_same_and_nothing_is_left_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = {"ids": np.arange(10, dtype=np.int64).reshape(2, 5)}
    with pytest.warns(UserWarning, match="Incomplete symbolic shape inference"):
        cleaned = preprocess(with_a_slice_of_positions(), Preprocess())
    before, after = (
        OnnxRunner.load(one, {}, RunnerOptions(provider="cpu", threads=1)).run(ids)["y"]
        for one in (with_a_slice_of_positions(), cleaned)
    )
    assert np.array_equal(before, after)
    assert not list(tmp_path.iterdir())
    assert Path.cwd() == tmp_path


def test_an_input_of_unknown_rank_is_cleaned_all_the_same() -> None:
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    ends = [value(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    model = graphs.model([helper.make_node("MatMul", ["x", "w"], ["y"])], ends[:1], ends[1:], [weight])
    with pytest.warns(UserWarning, match="No symbolic shapes"):
        cleaned = preprocess(model, Preprocess())
    assert onnx.load_from_string(cleaned).graph.node[0].name


def test_any_other_failure_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("models.compress.preprocess.quant_pre_process", breaks)
    with pytest.raises(RuntimeError, match="out of luck"):
        preprocess(convolutional(), Preprocess())


def test_equal_models_give_equal_bytes() -> None:
    assert preprocess(convolutional(), Preprocess()) == preprocess(convolutional(), Preprocess())


def test_a_changed_signature_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def renames_the_output(_: object, after: object, **__: object) -> None:
        model = onnx.load_from_string(convolutional())
        model.graph.output[0].name = model.graph.node[-1].output[0] = "renamed"
        onnx.save(model, after)

    monkeypatch.setattr("models.compress.preprocess.quant_pre_process", renames_the_output)
    with pytest.raises(NotApplied, match="preprocess changed the inputs or outputs"):
        preprocess(convolutional(), Preprocess())
