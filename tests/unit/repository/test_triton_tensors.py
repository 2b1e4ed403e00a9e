from __future__ import annotations

import pytest

from service.repository.config_tensors import Latest
from service.repository.model_config import ModelConfig
from tests.unit.repository.triton_texts import BATCHED, problem, read, tensor


@pytest.mark.parametrize(
    "text",
    ["", 'name: "m"', 'platform: "onnxruntime_onnx"', 'backend: "onnxruntime"', 'runtime: "onnxruntime.dll"'],
)
def test_what_says_nothing_new_leaves_the_defaults_but_for_triton_s_residency(text: str) -> None:
    assert read(text).versions == Latest(latest=1)
    assert read(text).model_copy(update={"versions": "all"}) == ModelConfig()


def test_tensors_are_taken_as_they_are_declared() -> None:
    config = read(BATCHED)
    assert (config.batched, config.max_batch_size) == (True, 8)
    [x], [scores] = config.inputs, config.outputs
    assert (x.name, x.datatype, x.dims, x.reshape, x.format) == ("x", "FP32", (3, 224, 224), None, "nchw")
    assert (scores.labels, scores.label_file) == (("cat", "dog"), "labels.txt")
    assert config.labels == config.labels_of("scores") == ("cat", "dog")
    assert config.warnings == ()


def test_without_a_maximum_declared_tensors_have_no_batch_and_no_tensors_leave_it_open() -> None:
    assert read(BATCHED.replace("max_batch_size: 8", "")).batched is False
    assert read("max_batch_size: 0").batched is None
    assert read("max_batch_size: 4").batched is True


def test_labels_of_two_outputs_stay_apart() -> None:
    more = 'output [ { name: "b" data_type: TYPE_FP32 dims: [ 1 ] label_filename: "other.txt" } ]'
    config = read(BATCHED + more, other_txt=b"one\ntwo")
    assert config.labels is None
    assert (config.labels_of("scores"), config.labels_of("b")) == (("cat", "dog"), ("one", "two"))
    assert config.labels_of("c") is None


@pytest.mark.parametrize(
    ("dims", "reshape", "kept"),
    [("1", "", ()), ("-1, 4", "-1, 2, 2", (-1, 2, 2)), ("2, -1, 6", "2, -1, 3, 2", (2, -1, 3, 2))],
)
def test_a_reshape_with_the_same_elements_is_taken(dims: str, reshape: str, kept: tuple[int, ...]) -> None:
    tensor = f'input [ {{ name: "x" data_type: TYPE_INT64 dims: [ {dims} ] reshape {{ shape: [ {reshape} ] }} }} ]'
    assert read("max_batch_size: 2 " + tensor).inputs[0].reshape == kept


WRONG_TENSORS = [
    (tensor("data_type: TYPE_FP32"), "input 'x'.dims is empty"),
    (tensor("dims: [1]"), "input 'x'.data_type is TYPE_INVALID"),
    (tensor("data_type: 99 dims: [1]"), "is 99, expected a datatype that is served"),
    (tensor("data_type: TYPE_FP32 dims: [1,2,3] format: -1"), "format"),
    (tensor("data_type: TYPE_BF16 dims: [1]"), "is TYPE_BF16, expected a datatype that is served"),
    (tensor("data_type: TYPE_FP32 dims: [0]"), "holds 0, expected sizes of 1 or more, or -1"),
    (tensor("data_type: TYPE_FP32 dims: [-2]"), "holds -2"),
    (tensor("data_type: TYPE_FP32 dims: [4] reshape { shape: [5] }"), "another number of elements than dims"),
    (tensor("data_type: TYPE_FP32 dims: [-1,4] reshape { shape: [4,-1] }"), "another number of elements than dims"),
    (tensor("data_type: TYPE_FP32 dims: [1] reshape { }"), "is empty, which needs a max_batch_size above 0"),
    (tensor("data_type: TYPE_FP32 dims: [1] reshape { shape: [0] }"), "reshape holds 0"),
    (tensor("data_type: TYPE_FP32 dims: [1] allow_ragged_batch: true"), "allow_ragged_batch is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_shape_tensor: true"), "is_shape_tensor is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_non_linear_format_io: true"), "is_non_linear_format_io is not supp"),
    (tensor("data_type: TYPE_FP32 dims: [1] is_shape_tensor: true", "output"), "is_shape_tensor is not supported"),
    (tensor("data_type: TYPE_FP32 dims: [1] format: FORMAT_NHWC"), "format wants 3 dims, got 1"),
    (tensor("data_type: TYPE_FP32 dims: [1]") * 2, "'input' names a tensor twice"),
    ("input [ { data_type: TYPE_FP32 dims: [1] } ]", "'input' holds a tensor without a name"),
    ("max_batch_size: -1", "'max_batch_size' is -1"),
    ("max_batch_size: 100000", "'max_batch_size': Input should be less than or equal to 65536"),
    (tensor('data_type: TYPE_FP32 dims: [1] label_filename: "../l"', "output"), "is not a plain path"),
    (tensor('data_type: TYPE_FP32 dims: [1] label_filename: "none"', "output"), "no readable file 'none'"),
]


@pytest.mark.parametrize(("text", "words"), WRONG_TENSORS)
def test_a_tensor_that_cannot_be_is_refused_by_name(text: str, words: str) -> None:
    assert words in problem(text)


def test_labels_that_are_no_text_are_refused() -> None:
    assert "not UTF-8 text" in problem(
        tensor('data_type: TYPE_FP32 dims: [1] label_filename: "b"', "output"), b=b"\xff"
    )
