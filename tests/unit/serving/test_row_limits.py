from __future__ import annotations

import pytest

from service.core.errors import BadInput
from service.serving.batchability import Batchability
from service.serving.row_limits import RUNS_LIMIT, RowLimits

MIXING = RowLimits("model 'm'", Batchability("any"), 8)
WHOLE = RowLimits("model 'm'", Batchability("single-request-only", "its rows depend on one another"), 8)


@pytest.mark.parametrize(
    ("limits", "rows", "counted"),
    [(MIXING, 0, 0), (MIXING, 1, 1), (MIXING, 9, 9), (MIXING, 8 * RUNS_LIMIT, 8 * RUNS_LIMIT), (WHOLE, 8, None)],
)
def test_rows_within_the_limits_are_counted_where_they_may_be_put_together(
    limits: RowLimits, rows: int, counted: int | None
) -> None:
    assert limits.check(rows) == counted


@pytest.mark.parametrize(
    ("limits", "rows", "words"),
    [
        (MIXING, 8 * RUNS_LIMIT + 1, f"model 'm' takes at most {8 * RUNS_LIMIT} rows a request, got 32769: .* 8 at a"),
        (WHOLE, 9, "at most 8 rows a request, got 9; larger ones are not split because its rows depend"),
    ],
)
def test_more_are_refused_with_the_reason(limits: RowLimits, rows: int, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        limits.check(rows)
