"""A version is run at every size that batches may have, and what that took is told."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from service.core.contract import Array, Arrays
from service.core.errors import RunFailed
from service.serving.rows import TrialRows
from service.serving.warmup import sizes, warm
from tests.fakes import ManualClock

ROWS = TrialRows({"x": np.arange(5, dtype=np.float32).reshape(5, 1)}, 5, "synthetic")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """What the warm-up takes the time with."""
    clock = ManualClock()
    monkeypatch.setattr("service.serving.warmup.time", SimpleNamespace(perf_counter=clock.now_s))
    return clock


class Journal:
    """Notes how many rows each run got, and takes `seconds`; fails above `limit_rows`."""

    def __init__(self, clock: ManualClock, limit_rows: int = 1000, seconds: float = 0.0) -> None:
        self.runs: list[int] = []
        self.clock = clock
        self.limit_rows = limit_rows
        self.seconds = seconds

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        rows = arrays["x"].shape[0]
        self.runs.append(rows)
        if rows > self.limit_rows:
            raise RunFailed("too many rows")
        self.clock.advance(self.seconds)
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


def test_each_size_is_run_once_untimed_and_then_at_most_five_times(clock: ManualClock) -> None:
    journal = Journal(clock)
    assert [rows for rows, _ in warm(journal, ROWS, 5)] == [1, 2, 4, 5]
    assert journal.runs == sorted(journal.runs)
    assert {journal.runs.count(size) for size in (1, 2, 4, 5)} == {6}


@pytest.mark.parametrize(("run_s", "timed"), [(0.025, 2), (0.015, 2), (0.009, 3), (0.001, 5)])
def test_a_slow_version_is_run_seldom_and_its_time_is_told(clock: ManualClock, run_s: float, timed: int) -> None:
    journal = Journal(clock, seconds=run_s)
    [(rows, seconds)] = warm(journal, ROWS, 1)
    assert (rows, len(journal.runs)) == (1, 1 + timed)
    assert seconds == pytest.approx(run_s)


def test_one_interruption_shapes_no_batches(clock: ManualClock) -> None:
    runs = 0

    def interrupted(_arrays: Arrays) -> dict[str, Array]:
        nonlocal runs
        runs += 1
        if runs == 2:
            clock.advance(0.2)
        return {}

    [(_, seconds)] = warm(interrupted, ROWS, 1)
    assert seconds < 0.1


def test_a_size_that_fails_ends_the_warm_up_and_the_smaller_ones_count(clock: ManualClock) -> None:
    journal = Journal(clock, limit_rows=2)
    assert [rows for rows, _ in warm(journal, ROWS, 32)] == [1, 2]
    assert max(journal.runs) == 4
