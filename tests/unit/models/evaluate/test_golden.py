"""Which rows become golden cases, and their tolerance."""

import numpy as np
import pytest

from models.evaluate.golden import telling_rows, tolerance

FULL = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 8.5, 0], [9, 0, 0], [0, 9, 0]], dtype=np.float32)


def moved(*by: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    variant = FULL.copy()
    variant[:, 2] += np.array(by, dtype=np.float32)
    return variant


def test_tolerance_is_a_share_of_the_largest_output_to_two_digits() -> None:
    logits = np.array([[-12.34, 3.0]], dtype=np.float32)
    assert tolerance(logits, 1e-3) == 0.012
    assert tolerance(logits, 1e-4) == 0.0012


def test_the_rows_that_differ_most_are_taken_in_ascending_order() -> None:
    rows = telling_rows(FULL, moved(0.1, 0.4, 0.2, 5.0, 0.3, 0.05), 3, gap=0.1)
    assert rows.tolist() == [1, 2, 4]


def test_a_row_in_doubt_is_left_out_however_much_it_differs() -> None:
    assert 3 not in telling_rows(FULL, moved(0.1, 0.1, 0.1, 5.0, 0.1, 0.1), 5, gap=0.1)


def test_a_row_on_which_the_versions_disagree_is_left_out() -> None:
    assert 0 not in telling_rows(FULL, moved(20, 0.2, 0.2, 0.2, 0.2, 0.2), 3, gap=0.1)


def test_too_few_telling_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Only 2 rows tell the two versions apart by 0\.1; 3 are wanted"):
        telling_rows(FULL, moved(0.2, 0.2, 0, 0, 0, 0), 3, gap=0.1)


def test_equal_versions_have_none() -> None:
    with pytest.raises(ValueError, match="Only 0 rows"):
        telling_rows(FULL, FULL, 1, gap=1e-6)
