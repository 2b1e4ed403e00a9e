from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from service.core.contract import InferResponse, TensorSpec
from service.core.errors import BadInput, NotRepresentable
from service.gateway import tensorflow_json
from service.gateway.tensorflow_json import Style
from tests.unit.gateway.fake_catalog import specs

ONE = specs(TensorSpec("x", "FP32", ("n", 2)))
TWO = specs(TensorSpec("a", "INT64", ("n",)), TensorSpec("b", "FP32", ("n", 2)))
SCALAR = specs(TensorSpec("x", "FP32", ()))
ROWS, COLUMNS = Style(True, False), Style(False, False)


def decode(document: Any, known: Any = ONE, labels: tuple[str, ...] | None = None) -> tuple[dict[str, Any], Style]:
    request, style = tensorflow_json.decode(orjson.dumps(document), known, labels)
    return {name: (array.dtype.name, array.tolist()) for name, array in request.inputs.items()}, style


@pytest.mark.parametrize(
    ("document", "known", "arrays"),
    [
        ({"instances": [[1, 2], [3, 4]]}, ONE, {"x": ("float32", [[1, 2], [3, 4]])}),
        ({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, ONE, {"x": ("float32", [[1, 2], [3, 4]])}),
        ({"inputs": [[1, 2]]}, ONE, {"x": ("float32", [[1, 2]])}),
        ({"inputs": {"x": [[1, 2]]}}, ONE, {"x": ("float32", [[1, 2]])}),
        ({"inputs": [[1, 2]], "signature_name": "serving_default"}, ONE, {"x": ("float32", [[1, 2]])}),
        (
            {"instances": [{"a": 1, "b": [1, 2]}, {"b": [3, 4], "a": 2}]},
            TWO,
            {"a": ("int64", [1, 2]), "b": ("float32", [[1, 2], [3, 4]])},
        ),
        ({"inputs": {"b": [[1, 2]], "a": [5]}}, TWO, {"a": ("int64", [5]), "b": ("float32", [[1, 2]])}),
        ({"inputs": {"x": 5}}, SCALAR, {"x": ("float32", 5)}),
        ({"inputs": []}, ONE, {"x": ("float32", [])}),
    ],
)
def test_rows_and_columns_become_arrays(document: Any, known: Any, arrays: dict[str, Any]) -> None:
    found, style = decode(document, known)
    assert found == arrays
    assert style == (ROWS if "instances" in document else COLUMNS)


@pytest.mark.parametrize(
    ("document", "known", "words"),
    [
        ([], ONE, "expected a JSON object"),
        ({}, ONE, "must have either 'instances' or 'inputs'"),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, ONE, "must have either"),
        ({"instances": [[1, 2]], "labells": True}, ONE, "has the key 'labells', only"),
        ({"instances": [[1, 2]], "labels": 1}, ONE, "'labels' of the request must be true or false"),
        ({"instances": []}, ONE, "at least one row"),
        ({"instances": {"x": 1}}, ONE, "at least one row"),
        ({"instances": [[1, 2], [3]]}, ONE, "nested unevenly"),
        ({"instances": [[1, 2], {"x": [3, 4]}]}, ONE, "nested unevenly"),
        ({"instances": [[[1], [2]]]}, ONE, "has a list, but FP32 takes only numbers"),
        ({"instances": [[1, "2"]]}, ONE, "has '2', but FP32 takes only numbers"),
        ({"instances": [{"x": [1, 2]}, {"z": [3, 4]}]}, ONE, "instance 1 of the request does not name the same inputs"),
        ({"instances": [{"x": [1, 2]}, [3, 4]]}, ONE, "instance 1 of the request does not name the same inputs"),
        ({"instances": [{"z": 1}]}, ONE, "the model has no input 'z', only 'x'"),
        ({"inputs": {"z": [[1, 2]]}}, ONE, "the model has no input 'z', only 'x'"),
        ({"instances": [1]}, TWO, "each instance must be an object with the inputs 'a', 'b'"),
        ({"inputs": [1]}, TWO, "'inputs' must be an object with the inputs 'a', 'b'"),
        ({"inputs": {"x": {"y": 1}}}, ONE, "has an object, but FP32 takes only numbers"),
        ({"inputs": {"x": None}}, ONE, "has null, but FP32 takes only numbers"),
    ],
)
def test_a_wrong_request_is_refused_in_words(document: Any, known: Any, words: str) -> None:
    with pytest.raises(BadInput) as refused:
        decode(document, known)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 700


def encode(style: Style, labels: tuple[str, ...] | None = None, **outputs: Any) -> Any:
    return orjson.loads(tensorflow_json.encode(InferResponse("m", "1", outputs), style, labels))


Y = np.array([[1.5, 2], [3, 4]], np.float32)
S = np.array([[b"a"], [b"b"]], np.object_)


def test_one_output_needs_no_name() -> None:
    assert encode(ROWS, y=Y) == {"predictions": [[1.5, 2], [3, 4]]}
    assert encode(COLUMNS, y=Y) == {"outputs": [[1.5, 2], [3, 4]]}


def test_several_outputs_are_named_by_row_or_by_column() -> None:
    assert encode(ROWS, y=Y, s=S) == {"predictions": [{"y": [1.5, 2], "s": ["a"]}, {"y": [3, 4], "s": ["b"]}]}
    assert encode(COLUMNS, y=Y, s=S) == {"outputs": {"y": [[1.5, 2], [3, 4]], "s": [["a"], ["b"]]}}


@pytest.mark.parametrize("other", [np.zeros(3, np.float32), np.float32(1).reshape(())])
def test_outputs_that_are_no_rows_ask_for_columns(other: Any) -> None:
    with pytest.raises(NotRepresentable, match="send 'inputs' instead of 'instances'"):
        encode(ROWS, y=Y, other=other)
    assert encode(COLUMNS, y=Y, other=other)["outputs"].keys() == {"y", "other"}


def test_layout_does_not_matter() -> None:
    assert encode(ROWS, y=Y.T) == {"predictions": [[1.5, 3], [2, 4]]}


@pytest.mark.parametrize("value", [np.array([np.nan]), np.array([np.inf]), np.zeros(1, np.float16)])
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(NotRepresentable):
        encode(ROWS, y=value)


def test_labels_are_the_best_class_of_each_row_with_its_score() -> None:
    scores = np.array([[0.1, 0.9], [0.75, 0.25]], np.float32)
    answer = encode(Style(True, True), ("no", "yes"), other=np.zeros((2, 3), np.float32), scores=scores)
    assert answer == {"labels": ["yes", "no"], "scores": pytest.approx([0.9, 0.75], abs=1e-7)}


@pytest.mark.parametrize("outputs", [{"y": Y}, {"y": np.zeros((2, 3), np.int64)}, {}])
def test_labels_need_an_output_with_a_score_for_each(outputs: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="no output with one score for each label"):
        encode(Style(True, True), ("a", "b", "c"), **outputs)


def test_labels_need_labels() -> None:
    wanted = {"instances": [[1, 2]], "labels": True}
    with pytest.raises(BadInput, match="configuration has no labels"):
        decode(wanted)
    with pytest.raises(BadInput, match="configuration has no labels"):
        decode(wanted, labels=())
    assert decode(wanted, labels=("no", "yes"))[1] == Style(True, True)


def test_a_score_that_is_not_finite_has_no_label() -> None:
    with pytest.raises(NotRepresentable, match="output 'y' holds NaN"):
        encode(Style(True, True), ("a", "b"), y=np.array([[np.nan, 1]], np.float32))


def test_labels_beside_probabilities_come_as_rows_whatever_numpy_calls_64_bits() -> None:
    label, scores = np.array([2, 0], np.longlong), np.array([[0, 0.25, 0.75], [1, 0, 0]], np.float32)
    assert encode(ROWS, label=label, scores=scores) == {
        "predictions": [{"label": 2, "scores": [0, 0.25, 0.75]}, {"label": 0, "scores": [1, 0, 0]}]
    }
    assert encode(ROWS, label=label) == {"predictions": [2, 0]}
    assert encode(COLUMNS, y=np.array(7, np.longlong)) == {"outputs": 7}
    assert encode(COLUMNS, y=np.array(7, np.ulonglong)) == {"outputs": 7}
