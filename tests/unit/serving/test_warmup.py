"""A version is run at every size that batches may have, and what that took is told."""

import time
from itertools import pairwise

import numpy as np
import pytest

from service.core.contract import Array, Arrays
from service.core.errors import RunFailed
from service.serving.rows import TrialRows
from service.serving.warmup import sizes, warm

ROWS = TrialRows({"x": np.arange(5, dtype=np.float32).reshape(5, 1)}, 5, "synthetic")


class Journal:
    """Notes how many rows each run got; fails above `limit_rows`."""

    def __init__(self, limit_rows: int = 1000, seconds: float = 0.0) -> None:
        self.runs: list[int] = []
        self.limit_rows = limit_rows
        self.seconds = seconds

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        rows = arrays["x"].shape[0]
        self.runs.append(rows)
        if rows > self.limit_rows:
            raise RunFailed("too many rows")
        time.sleep(self.seconds)
        return {"y": arrays["x"]}


@pytest.mark.parametrize(
    ("max_rows", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (5, [1, 2, 4, 5]), (32, [1, 2, 4, 8, 16, 32])],
)
def test_sizes_double_up_to_the_maximum_itself(max_rows: int, expected: list[int]) -> None:
    assert sizes(max_rows) == expected


def test_sizes_never_repeat_nor_pass_the_maximum() -> None:
    for max_rows in range(1, 200):
        assert all(a < b for a, b in pairwise(sizes(max_rows)))
        assert sizes(max_rows)[-1] == max_rows


def test_each_size_is_run_once_untimed_and_then_at_most_five_times() -> None:
    journal = Journal()
    assert [rows for rows, _ in warm(journal, ROWS, 5)] == [1, 2, 4, 5]
    assert journal.runs == sorted(journal.runs)
    assert {journal.runs.count(size) for size in (1, 2, 4, 5)} == {6}


def test_a_slow_version_is_run_seldom_and_its_time_is_told() -> None:
    journal = Journal(seconds=0.025)
    [(rows, seconds)] = warm(journal, ROWS, 1)
    assert (rows, len(journal.runs)) == (1, 3)
    assert seconds >= 0.025


def test_one_interruption_shapes_no_batches() -> None:
    runs = 0

    def interrupted(_arrays: Arrays) -> dict[str, Array]:
        nonlocal runs
        runs += 1
        if runs == 2:
            time.sleep(0.2)
        return {}

    [(_, seconds)] = warm(interrupted, ROWS, 1)
    assert seconds < 0.1


def test_a_size_that_fails_ends_the_warm_up_and_the_smaller_ones_count() -> None:
    journal = Journal(limit_rows=2)
    assert [rows for rows, _ in warm(journal, ROWS, 32)] == [1, 2]
    assert max(journal.runs) == 4
