"""Rows are put together only where running them shows that they may be."""

from collections.abc import Callable

import numpy as np
import pytest

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import RunFailed
from service.core.synthetic import synthetic_feed
from service.repository.card import Batching
from service.serving.batchability import Batchability, card_binds, probe, single
from service.serving.rows import DISTINCT_ROWS, TrialRows
from tests.unit.serving.cards import card

Model = Callable[[Array], Array]
WEIGHTS = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def rows() -> TrialRows:
    specs = [TensorSpec("x", "FP32", ("n", 6))]
    return TrialRows(synthetic_feed(specs, DISTINCT_ROWS, batch_axis="n"), DISTINCT_ROWS, "synthetic")


def probed(model: Model, *, max_rows: int = 8, quantised: bool = False) -> Batchability:
    def run(arrays: Arrays) -> dict[str, Array]:
        return {"y": model(arrays["x"])}

    return probe(run, rows(), max_rows, quantised=quantised)


def linear(x: Array) -> Array:
    return np.stack([row @ WEIGHTS for row in x])


def softmax_over_rows(x: Array) -> Array:
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def dynamically_quantised(x: Array) -> Array:
    scale = np.abs(x).max() / 127
    return np.round(x / scale) * scale @ WEIGHTS


def slightly_off_in_batches(x: Array) -> Array:
    return linear(x) * (1 + 1e-4 * (len(x) > 1))


def first_row_leaks(x: Array) -> Array:
    return linear(x) + x[0, 0]


def last_position_differs(x: Array) -> Array:
    y = linear(x)
    y[-1] += 0.01 * (len(x) == 3)
    return y


def one_answer_for_all(x: Array) -> Array:
    return linear(x).mean(axis=0, keepdims=True)


def no_axis(x: Array) -> Array:
    return np.float32(x.sum()).reshape(())


def fails_beyond_two(x: Array) -> Array:
    if len(x) > 2:
        raise RunFailed("planted")
    return linear(x)


def argmax(x: Array) -> Array:
    return linear(x).argmax(axis=1)


def rank_among_rows(x: Array) -> Array:
    return np.argsort(np.argsort(x[:, 0]))


def not_finite(x: Array) -> Array:
    return np.where(x > 0, np.float32(np.nan), x)


@pytest.mark.parametrize("model", [linear, argmax, not_finite])
@pytest.mark.parametrize("max_rows", [2, 3, 8, 32])
def test_rows_that_do_not_see_each_other_mix(model: Model, max_rows: int) -> None:
    found = probed(model, max_rows=max_rows)
    assert found.mixes, found.reason
    assert found.sensitivity is not None
    assert found.sensitivity <= 1e-5


@pytest.mark.parametrize(
    "model",
    [
        softmax_over_rows,
        dynamically_quantised,
        first_row_leaks,
        last_position_differs,
        one_answer_for_all,
        no_axis,
        fails_beyond_two,
        rank_among_rows,
    ],
)
def test_rows_that_see_each_other_do_not(model: Model) -> None:
    found = probed(model)
    assert found.mode == "single-request-only"
    assert found.reason


def test_the_tolerance_is_that_of_the_arithmetic() -> None:
    assert not probed(slightly_off_in_batches).mixes
    assert probed(slightly_off_in_batches, quantised=True).mixes
    assert not probed(dynamically_quantised, quantised=True).mixes


def test_the_reason_says_how_much() -> None:
    found = probed(slightly_off_in_batches)
    assert found.sensitivity == pytest.approx(1e-4, rel=0.1)
    assert "changed by 0.0001 of its largest output" in found.reason


@pytest.mark.parametrize(
    ("said", "found", "mode"),
    [
        (None, Batchability("any"), "any"),
        (Batching(mode="any"), Batchability("any"), "any"),
        (Batching(mode="any"), single("probe"), "single-request-only"),
        (Batching(mode="single-request-only"), Batchability("any"), "single-request-only"),
        (Batching(mode="single-request-only", reason="scale"), single("probe"), "single-request-only"),
    ],
)
def test_the_stricter_of_card_and_probe_wins(said: Batching | None, found: Batchability, mode: str) -> None:
    assert card_binds(card(batching=said), found).mode == mode
    assert card_binds(None, found) is found


def test_the_card_gives_its_reason() -> None:
    bound = card_binds(
        card(batching=Batching(mode="single-request-only", reason="per-tensor scale")), Batchability("any")
    )
    assert bound.reason == "per-tensor scale"


def test_an_output_of_another_shape_than_alone_is_no_batch() -> None:
    found = probed(lambda x: np.zeros((len(x), len(x)), np.float32))
    assert "output 'y' has another shape than alone" in found.reason


def test_an_output_that_is_finite_alone_and_not_in_a_batch_is_no_batch() -> None:
    found = probed(lambda x: np.full((len(x), 1), np.nan if len(x) > 1 else 1.0, np.float32))
    assert (found.mode, found.sensitivity) == ("single-request-only", np.inf)


def test_outputs_without_values_are_a_batch_of_nothing() -> None:
    assert probed(lambda x: np.zeros((len(x), 0), np.float32)).mixes
