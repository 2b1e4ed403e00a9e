"""Names, datatypes, shapes and rows of a request, each with its sentence."""

import numpy as np
import pytest

from service.core.contract import Array, InferRequest, RequestedOutput, TensorSpec, common_first_axis
from service.core.errors import BadInput
from service.serving.signature import Signature


def signature(batch_axis: str | None = "n") -> Signature:
    inputs = (TensorSpec("a", "FP32", ("n", 2)), TensorSpec("b", "INT64", ("n", "length")))
    outputs = (TensorSpec("y", "FP32", ("n", 3)), TensorSpec("z", "FP32", ("n",)))
    return Signature("model 'm'", {s.name: s for s in inputs}, {s.name: s for s in outputs}, batch_axis)


def feed(rows_a: int = 4, rows_b: int = 4) -> dict[str, Array]:
    return {"a": np.zeros((rows_a, 2), np.float32), "b": np.zeros((rows_b, 7), np.int64)}


@pytest.mark.parametrize(("axis", "rows"), [("n", 4), (None, None)])
def test_rows_are_counted_where_there_is_a_batch(axis: str | None, rows: int | None) -> None:
    assert signature(axis).rows(feed()) == rows


def test_zero_rows_are_rows() -> None:
    assert signature().rows(feed(0, 0)) == 0


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"a": feed()["a"]}, "model 'm' needs input 'b', which the request does not have"),
        ({**feed(), "c": feed()["a"]}, "model 'm' has no input 'c', only 'a', 'b'"),
        ({**feed(), "a": np.zeros((4, 2))}, "input 'a' of model 'm' must be FP32"),
        ({**feed(), "a": np.zeros((4, 3), np.float32)}, "input 'a' of model 'm' has shape [4, 3], expected [-1, 2]"),
        ({**feed(), "a": np.zeros(8, np.float32)}, "input 'a' of model 'm' has shape [8], expected [-1, 2]"),
        (feed(4, 5), "inputs of model 'm' have different numbers of rows: 'a' 4, 'b' 5"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(arrays: dict[str, Array], sentence: str) -> None:
    with pytest.raises(BadInput) as raised:
        signature().rows(arrays)
    assert str(raised.value) == sentence


def test_long_lists_of_names_are_cut() -> None:
    many = {f"x{index}": TensorSpec(f"x{index}", "FP32", (1,)) for index in range(50)}
    with pytest.raises(BadInput, match="'x7' and others") as raised:
        Signature("model 'm'", many, many, None).rows({"q" * 5000: np.zeros(1, np.float32)})
    assert len(str(raised.value)) < 400


def test_outputs_come_as_asked_for_or_all() -> None:
    answered = {"y": np.zeros(1), "z": np.ones(1)}
    assert list(signature().select(InferRequest({}), answered)) == ["y", "z"]
    picky = InferRequest({}, (RequestedOutput("z"),))
    assert list(signature().select(picky, answered)) == ["z"]


def test_an_unknown_output_is_refused_before_the_run() -> None:
    signature().check_outputs(InferRequest({}, (RequestedOutput("y"),)))
    with pytest.raises(BadInput, match="model 'm' has no output 'w', only 'y', 'z'"):
        signature().check_outputs(InferRequest({}, (RequestedOutput("w"),)))


@pytest.mark.parametrize(
    ("dims", "axis"),
    [
        ([("n", 2), ("n", 3)], "n"),
        ([("n",), ("m",)], None),
        ([("n",), ()], None),
        ([(4,), (4,)], None),
        ([(None, 2), (None, 2)], None),
        ([], None),
    ],
)
def test_a_batch_axis_is_one_symbol_everywhere(dims: list[tuple[int | str | None, ...]], axis: str | None) -> None:
    assert common_first_axis([TensorSpec("t", "FP32", each) for each in dims]) == axis


def one(inputs: dict[str, TensorSpec], outputs: dict[str, TensorSpec]) -> Signature:
    return Signature("model 'm'", inputs, outputs, None)


def spec(*dims: int | str | None, datatype: str = "FP32") -> TensorSpec:
    return TensorSpec("t", datatype, dims)


BEFORE = one({"x": spec("n", 4)}, {"y": spec("n", 3)})


@pytest.mark.parametrize(
    ("after", "gap"),
    [
        (one({"x": spec("n", 4)}, {"y": spec("n", 3)}), ""),
        (one({"x": spec("batch", "width")}, {"y": spec("batch", 3)}), ""),  # takes more than before
        (one({"x": spec("n", 4)}, {"y": spec("n", 3), "z": spec("n")}), ""),  # says more than before
        (one({"x": spec(1, 4)}, {"y": spec(1, 3)}), "its input 'x' is FP32 [1, 4] instead of FP32 [-1, 4]"),
        (one({"x": spec("n", 5)}, {"y": spec("n", 3)}), "its input 'x' is FP32 [-1, 5] instead of FP32 [-1, 4]"),
        (one({"x": spec("n", 4, datatype="FP16")}, {}), "its input 'x' is FP16 [-1, 4] instead of FP32 [-1, 4]"),
        (one({"x": spec("n")}, {}), "its input 'x' is FP32 [-1] instead of FP32 [-1, 4]"),
        (one({"x": spec("n", 4), "w": spec("n")}, {}), "it needs input 'w' as well"),
        (one({}, {}), "it has no input 'x'"),
        (one({"x": spec("n", 4)}, {"z": spec("n", 3)}), "it has no output 'y'"),
        (one({"x": spec("n", 4)}, {"y": spec("n", 7)}), "its output 'y' is FP32 [-1, 7] instead of FP32 [-1, 3]"),
    ],
)
def test_what_another_version_would_miss(after: Signature, gap: str) -> None:
    assert after.gap(BEFORE) == gap
