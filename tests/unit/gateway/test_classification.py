from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.contract import Array, InferResponse, RequestedOutput
from service.core.errors import BadInput
from service.gateway.classification import check_classification, classes, classified


def no_labels(_output: str) -> None:
    """No output has any."""


def top(array: Array, count: int, labels: tuple[str, ...] = (), *, batched: bool = True) -> list[object]:
    found: list[object] = classes(array, count, labels, batched=batched, name="y").tolist()
    return found


def test_the_highest_of_each_row_come_first_with_index_and_label() -> None:
    scores = np.float32([[0.1, 0.7, 0.2], [3, 1, 2]])
    assert top(scores, 2, ("cat", "dog", "cow")) == [
        [b"0.700000:1:dog", b"0.200000:2:cow"],
        [b"3.000000:0:cat", b"2.000000:2:cow"],
    ]


def test_an_index_without_a_label_has_none() -> None:
    assert top(np.float32([[0, 1]]), 1, ("only",)) == [[b"1.000000:1"]]


def test_integers_are_written_without_a_point() -> None:
    assert top(np.int64([[5, 2**62, 7]]), 3) == [[b"4611686018427387904:1", b"7:2", b"5:0"]]
    assert top(np.uint8([[0, 255]]), 1) == [[b"255:1"]]


def test_fewer_come_where_there_are_fewer() -> None:
    assert len(top(np.float32([[1, 2]]), 9)[0]) == 2  # type: ignore[arg-type]


def test_without_a_batch_the_whole_output_is_one_row() -> None:
    assert top(np.float32([[1, 2], [4, 3]]), 2, batched=False) == [b"4.000000:2", b"3.000000:3"]


def test_a_row_of_several_axes_is_counted_flat() -> None:
    assert top(np.arange(12, dtype=np.float32).reshape(2, 2, 3), 1) == [[b"5.000000:5"], [b"11.000000:5"]]


def test_equal_values_come_in_order_and_nan_last() -> None:
    assert top(np.float32([[1, np.nan, 1, 0]]), 4) == [[b"1.000000:0", b"1.000000:2", b"0.000000:3", b"nan:1"]]
    row = np.float32([[np.nan, -np.inf, np.nan, -np.inf, 2]])
    assert top(row, 5) == [[b"2.000000:4", b"-inf:1", b"-inf:3", b"nan:0", b"nan:2"]]


def test_no_rows_have_no_classes() -> None:
    assert classes(np.zeros((0, 3), np.float32), 2, (), batched=True, name="y").shape == (0, 2)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20), st.integers(1, 25))
def test_what_is_chosen_is_what_sorting_chooses(row: list[float], count: int) -> None:
    expected = sorted(range(len(row)), key=lambda index: (-row[index], index))[:count]
    assert [int(bytes(text).split(b":")[1]) for text in top(np.float32([row]), count)[0]] == expected  # type: ignore[arg-type, attr-defined]


@pytest.mark.parametrize("array", [np.array([[True]]), np.array([[b"x"]], dtype=object)])
def test_what_is_no_number_is_refused(array: Array) -> None:
    with pytest.raises(BadInput, match="output 'y' holds no numbers"):
        top(array, 1)


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "3", 1 << 31, None])
def test_a_count_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(BadInput, match="'classification' of output 'y' must be a number of classes above 0"):
        check_classification(RequestedOutput("y", {"classification": count}))


def test_an_output_without_the_parameter_is_left_alone() -> None:
    check_classification(RequestedOutput("y", {"binary_data": True}))


def test_only_what_is_wanted_as_classes_becomes_them() -> None:
    y, z = np.float32([[1, 2]]), np.float32([[3]])
    answer = InferResponse("m", "1", {"y": y, "z": z}, "id")
    wanted = (RequestedOutput("y", {"classification": 1}), RequestedOutput("z"))
    found = classified(answer, wanted, no_labels, batched=True)
    assert found.outputs["y"].tolist() == [[b"2.000000:1"]]
    assert found.outputs["z"] is z
    labels = {"y": ("cat", "dog"), "z": ("yes",)}
    found_too = classified(answer, (*wanted[:1], RequestedOutput("z", {"classification": 1})), labels.get, batched=True)
    assert {name: array.item() for name, array in found_too.outputs.items()} == {
        "y": b"2.000000:1:dog",
        "z": b"3.000000:0:yes",
    }
    assert (found.id, found.version) == ("id", "1")
    assert classified(answer, (RequestedOutput("y"),), no_labels, batched=True) is answer
