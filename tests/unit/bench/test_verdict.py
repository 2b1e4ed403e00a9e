"""A ratio is called worse only where nothing of its rounds is explained by what was seen before."""

from __future__ import annotations

import pytest

from tests.bench.verdict import ALLOWANCE, Ratio, is_worse, ratio_of


def rounds(*ratios: float) -> list[tuple[float, float]]:
    """Pairs of costs, each on a machine of another speed."""
    return [(ratio * speed, speed) for speed, ratio in enumerate(ratios, start=7)]


def test_the_middle_is_the_median_of_the_rounds_whatever_the_machine_did() -> None:
    assert ratio_of(rounds(2.0, 9.0, 2.2, 2.1, 1.0)).middle == pytest.approx(2.1)


def test_few_rounds_span_all_and_many_leave_the_outermost_out() -> None:
    assert ratio_of(rounds(1.0, 2.0, 3.0)) == pytest.approx((2.0, 1.0, 3.0))
    found = ratio_of(rounds(*range(1, 42)))
    assert (found.low, found.middle, found.high) == pytest.approx((15.0, 21.0, 27.0))


KEPT = Ratio(2.0, 1.8, 2.2)


@pytest.mark.parametrize(
    ("measured", "worse"),
    [
        (KEPT, False),
        (Ratio(1.0, 0.9, 1.1), False),
        (Ratio(2.9, 2.1, 3.5), False),  # some of it lies where it was
        (Ratio(2.5, 2.2 * ALLOWANCE, 2.7), False),
        (Ratio(2.5, 2.2 * ALLOWANCE + 0.01, 2.7), True),
        (Ratio(9.0, 8.0, 10.0), True),
    ],
)
def test_worse_is_what_lies_above_everything_that_is_kept(measured: Ratio, worse: bool) -> None:
    assert is_worse(measured, KEPT) is worse
