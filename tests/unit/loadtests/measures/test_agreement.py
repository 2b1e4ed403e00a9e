"""Agreement with its rows: few rows leave much possible, and the interval holds what it says."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.measures.agreement import Agreement


def test_all_of_few_rows_leaves_much_possible() -> None:
    low, high = Agreement(32, 32).interval
    assert low == pytest.approx(0.025 ** (1 / 32)) and high == 1
    assert Agreement(600, 600).interval[0] > 0.99


def test_none_of_them_too() -> None:
    none = Agreement(0, 5)
    assert none.share == 0 and none.interval[0] == 0 and none.interval[1] == pytest.approx(1 - 0.025 ** (1 / 5))


@pytest.mark.parametrize("true", [0.9, 0.99])
def test_the_interval_holds_what_it_says(true: float) -> None:
    drawn = np.random.default_rng(0).binomial(200, true, 300)
    covered = [low <= true <= high for low, high in (Agreement(int(one), 200).interval for one in drawn)]
    assert np.mean(covered) >= 0.95
