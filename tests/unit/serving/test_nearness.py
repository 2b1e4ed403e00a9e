"""Near enough to be the same version's answer again; a wrong answer is not."""

import numpy as np
import pytest

from service.core.contract import Array
from service.serving.nearness import near, near_array

SCORES = np.float32([[100.0, 1.0, 0.0]])


def test_an_answer_is_near_itself_and_what_rounding_makes_of_it() -> None:
    assert near({"y": SCORES}, {"y": SCORES.copy(), "another": SCORES})
    assert near_array(SCORES, SCORES + np.float32(0.9))


@pytest.mark.parametrize(
    "found",
    [
        SCORES + np.float32(2.1),
        -SCORES,
        SCORES[:, :2],
        SCORES.astype(np.float64),
        np.where(SCORES == 0, np.float32(np.nan), SCORES),
        np.where(SCORES == 0, np.float32(np.inf), SCORES),
    ],
)
def test_another_answer_is_not(found: Array) -> None:
    assert not near_array(SCORES, found)


def test_a_missing_output_is_not() -> None:
    assert not near({"y": SCORES}, {})
    assert near({}, {"y": SCORES})


def test_nan_is_near_nan_and_infinity_near_infinity() -> None:
    values = np.float32([np.nan, np.inf, 1.0])
    assert near_array(values, values.copy())
    assert not near_array(values, np.float32([np.nan, -np.inf, 1.0]))
    assert near_array(np.float32([np.nan]), np.float32([np.nan]))


def test_half_precision_does_not_overflow() -> None:
    assert near_array(np.float16([60_000, 1]), np.float16([60_032, 1]))
    assert not near_array(np.float16([60_000, 1]), np.float16([50_000, 1]))


def test_classes_and_strings_are_compared_by_shape_alone() -> None:
    assert near_array(np.int64([1]), np.int64([2]))
    assert near_array(np.asarray([b"a"], object), np.asarray([b"b"], object))
    assert not near_array(np.int64([1]), np.int64([1, 2]))
