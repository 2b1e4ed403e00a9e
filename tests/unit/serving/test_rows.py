"""The rows that a version is tried with."""

import numpy as np
import pytest

from service.core.contract import Array, Arrays, TensorSpec
from service.core.errors import RunFailed
from service.repository.golden import Golden
from service.serving.rows import DISTINCT_ROWS, FREE_SIZES, trial_rows
from service.serving.signature import Signature


def signature(*dims: int | str | None, axis: str | None = "n") -> Signature:
    return Signature("model 'm'", {"x": TensorSpec("x", "FP32", dims)}, {}, axis)


class Picky:
    """Runs only inputs whose last axis has one size."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.runs = 0

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        self.runs += 1
        if arrays["x"].shape[-1] != self.size:
            raise RunFailed(f"last axis must be {self.size}")
        return {}


@pytest.mark.parametrize("size", FREE_SIZES)
def test_free_axes_are_tried_until_one_size_runs(size: int) -> None:
    found = trial_rows(Picky(size), signature("n", "length"), None)
    assert found.arrays["x"].shape == (DISTINCT_ROWS, size)
    assert (found.rows, found.source) == (DISTINCT_ROWS, "synthetic")


@pytest.mark.parametrize("dims", [(None,), (None, None), ("a", 3, None)])
def test_an_axis_without_a_name_is_free_where_there_is_no_batch(dims: tuple[int | str | None, ...]) -> None:
    found = trial_rows(Picky(224), signature(*dims, axis=None), None)
    assert found.arrays["x"].shape[-1] == 224


def test_the_last_failure_is_told_when_none_runs() -> None:
    with pytest.raises(RunFailed, match="last axis must be 5"):
        trial_rows(Picky(5), signature("n", "length"), None)


def test_a_fixed_shape_is_tried_once() -> None:
    picky = Picky(99)
    with pytest.raises(RunFailed):
        trial_rows(picky, signature("n", 4), None)
    assert picky.runs == 1


def test_golden_rows_come_first() -> None:
    golden = Golden({"x": np.arange(6, dtype=np.float32).reshape(3, 2)}, {}, 3)
    found = trial_rows(Picky(0), signature("n", 2), golden)
    assert (found.source, found.rows) == ("golden", 3)
    assert found.take([0, 4, 2])["x"].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_without_a_batch_axis_the_input_is_taken_whole() -> None:
    found = trial_rows(Picky(4), signature(3, 4, axis=None), None)
    assert found.rows is None
    assert found.take([7])["x"].shape == (3, 4)
