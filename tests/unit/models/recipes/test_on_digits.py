"""Every recipe that comes with Retort, on digits/1, in its small form: it changes what it says, and still answers well.

Twenty calibration rows and no timed run. All of them apply to this model, which has convolutions and linear layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models import chain
from models.compress.checks import op_counts, same_signature
from models.data import digits
from models.made import Made
from models.recipes import reading
from service.core.contract import Arrays
from service.repository.deep_codec import decode
from service.repository.layout import Repository
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

REPOSITORY = Path(__file__).parents[4] / "models" / "repository"
CALIBRATION_ROWS = 20
LEAST_AGREEMENT = 0.97
SHARED_VALUES = 256
LINEAR_LAYERS, CONVOLUTIONS = 2, 3

Check = Callable[[Made, bytes], bool]


@pytest.fixture(scope="module")
def full() -> bytes:
    return Repository(REPOSITORY).read_version("digits", "1").onnx


@pytest.fixture(scope="module")
def answers(full: bytes) -> np.ndarray:
    return ask(full, rows())


@pytest.fixture(scope="module")
def made(full: bytes) -> Callable[[str], Made]:
    """What a recipe makes of digits/1, made once."""
    calibration = {name: array[:CALIBRATION_ROWS] for name, array in digits.part("calibration").inputs.items()}
    kept: dict[str, Made] = {}

    def make(name: str) -> Made:
        if name not in kept:
            kept[name] = chain.make(reading.named(name), "1-x", full, calibration, on_step=lambda _: None)
        return kept[name]

    return make


def rows() -> Arrays:
    return digits.part("development").inputs


def ask(model: bytes, inputs: Arrays) -> np.ndarray:
    runner = OnnxRunner.load(model, {}, RunnerOptions(provider="cpu", threads=1))
    answer = runner.run(inputs)[runner.outputs[0].name]
    runner.close()
    return answer


def weights(model: bytes) -> list[np.ndarray]:
    """Of convolutions and linear layers, the large ones first."""
    found = [numpy_helper.to_array(one) for one in onnx.load_from_string(model).graph.initializer]
    return sorted((one for one in found if one.ndim > 1 and one.dtype == np.float32), key=np.size, reverse=True)


def zeros(model: bytes) -> float:
    return sum(int((one == 0).sum()) for one in weights(model)) / sum(one.size for one in weights(model))


def nodes(op_type: str, number: int) -> Check:
    return lambda one, _: op_counts(one.onnx).get(op_type, 0) == number


def smaller(share: float) -> Check:
    return lambda one, full: len(one.onnx) < share * len(full)


def zeroed(share: float) -> Check:
    return lambda one, _: abs(zeros(one.onnx) - share) < 0.01


def half_precision(one: Made, full: bytes) -> bool:
    return not weights(one.onnx)


def two_of_four(one: Made, full: bytes) -> bool:
    """Along the inputs of the large layers no four neighbours have more than two weights."""
    first = weights(one.onnx)[0]
    return any(
        int((part.reshape(-1, 4) != 0).sum(1).max()) <= 2
        for part in (first.reshape(first.shape[0], -1), first.reshape(first.shape[0], -1).T.copy())
    )


def thin(one: Made, full: bytes) -> bool:
    return sum(map(np.size, weights(one.onnx))) < sum(map(np.size, weights(full)))


def shared(one: Made, full: bytes) -> bool:
    return all(np.unique(weight).size <= SHARED_VALUES for weight in weights(one.onnx))


def coded(one: Made, full: bytes) -> bool:
    """The coded form gives the file back to the byte, and is a tenth of the full version's."""
    if one.coded is None or len(one.coded) > 0.1 * len(full):
        return False
    return decode(one.coded, limit_bytes=len(one.onnx)) == one.onnx


EIGHT_BITS = smaller(0.55)
EXPECTED: Mapping[str, tuple[Check, ...]] = MappingProxyType(
    {
        "deep": (coded, shared, zeroed(0.7)),
        "fp16": (half_precision, smaller(0.51)),
        "int4": (nodes("MatMulNBits", LINEAR_LAYERS), smaller(0.45)),
        "int8-dynamic": (nodes("MatMulInteger", LINEAR_LAYERS), nodes("DynamicQuantizeLinear", 2), EIGHT_BITS),
        "int8-per-row": (nodes("MatMulInteger", LINEAR_LAYERS), nodes("DynamicQuantizeLinear", 0), EIGHT_BITS),
        "int8-static": (nodes("QuantizeLinear", 10), smaller(0.3)),
        "int8-static-tensorrt": (nodes("QuantizeLinear", 10), smaller(0.3)),
        "int8-weights": (nodes("MatMulNBits", LINEAR_LAYERS), EIGHT_BITS),
        "low-rank": (nodes("MatMul", 2), nodes("Gemm", 1), thin),
        "prune-2-4": (two_of_four, zeroed(0.5)),
        "prune-magnitude": (zeroed(0.5),),
        "share-weights": (nodes("Gather", LINEAR_LAYERS + CONVOLUTIONS), smaller(0.3)),
    }
)


def test_every_recipe_is_expected_to_do_something() -> None:
    assert sorted(EXPECTED) == reading.names()
    assert all(EXPECTED.values())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recipe_changes_what_it_says(name: str, made: Callable[[str], Made], full: bytes) -> None:
    one = made(name)
    assert [check(one, full) for check in EXPECTED[name]] == [True] * len(EXPECTED[name])
    same_signature(full, one.onnx, name)
    assert one.recipe.name == name
    assert one.needs == (("tensorrt",) if name == "int8-static-tensorrt" else ())
    assert (one.coded is not None) == (name == "deep")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_model_that_nothing_was_done_to_is_not_taken_for_a_variant(name: str, full: bytes) -> None:
    untouched = Made("1-x", full, reading.named(name).recipe)
    assert not all(check(untouched, full) for check in EXPECTED[name])


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_variant_answers_nearly_as_the_full_version(
    name: str, made: Callable[[str], Made], answers: np.ndarray
) -> None:
    own = ask(made(name).onnx, rows())
    assert own.shape == answers.shape
    assert own.dtype == answers.dtype
    assert np.isfinite(own).all()
    assert (own.argmax(1) == answers.argmax(1)).mean() >= LEAST_AGREEMENT


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"int8-dynamic"}))
def test_a_row_is_answered_alone_as_among_others(name: str, made: Callable[[str], Made]) -> None:
    few = {key: array[:8] for key, array in rows().items()}
    alone = np.concatenate(
        [ask(made(name).onnx, {key: array[at : at + 1] for key, array in few.items()}) for at in range(8)]
    )
    np.testing.assert_allclose(ask(made(name).onnx, few), alone, atol=1e-3)


def test_the_dynamic_form_shows_that_this_would_be_noticed(made: Callable[[str], Made]) -> None:
    few = {key: array[:8] for key, array in rows().items()}
    alone = ask(made("int8-dynamic").onnx, {key: array[:1] for key, array in few.items()})
    assert np.abs(ask(made("int8-dynamic").onnx, few)[:1] - alone).max() > 1e-3
