"""Requirements: read from their text, and met only when the unfavourable end of the interval meets them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.measures.agreement import Agreement
from loadtests.measures.resampling import Figure
from loadtests.measures.summary import summarise
from loadtests.requirements import BadRequirement, requirement
from loadtests.verdict import Versus
from tests.unit.loadtests.blocks import block

AGREED = Agreement(1194, 1200)
OWN = summarise("1-int8", [block([4.0] * 1000, number=at) for at in range(3)], limit_ms=10)
FOUND = Versus("1-int8", "1", Figure(0.5, (0.45, 0.55)), Figure(0.7, (0.6, 0.82)), None, AGREED, "faster")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("p99 <= 0.8x", False),  # 0.7 is, but its interval ends at 0.82
        ("p99 <= 0.9x", True),
        ("p50<0.6x", True),
        ("p50 >= 0.5x", False),
        ("rate >= 1x", False),  # not measured
        ("agreement >= 0.98", True),
        ("agreement >= 0.99", False),  # 0.995 is, but its interval begins at 0.989
        ("agreement >= 99.9%", False),
        ("p99 <= 5ms", True),
        ("p99 <= 3", False),
        ("errors <= 0.1%", True),
        ("effective_accuracy >= 0.5", False),  # no labels
        ("in_time >= 100%", True),
    ],
)
def test_an_outcome(text: str, met: bool) -> None:
    assert requirement(text).outcome(OWN, FOUND)[0] is met


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no requirement such as"),
        ("fast", "is no requirement such as"),
        ("p99 = 1", "is no requirement such as"),
        ("p99 <= -1", "is no requirement such as"),
        ("p98 <= 1", "no figure 'p98' is known by itself; known are achieved, agreement"),
        ("errors <= 1x", "no figure 'errors' is known as a multiple"),
        ("p99 <= 1.2.3", "'1.2.3' is no number"),
        ("agreement >= 98ms", "agreement is not told in ms"),
        ("p99 <= 10%", "p99 is not told in %"),
        ("goodput >= 150%", "goodput is not told in %"),
        ("errors <= 5", "errors is a share of at most 1"),  # every run would meet it
        ("agreement >= 98", "agreement is a share of at most 1"),
    ],
)
def test_a_mistake_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadRequirement) as told:
        requirement(text)
    assert said in str(told.value)


def test_errors_are_a_share_of_the_requests_however_few_kinds_there_are() -> None:
    failed = summarise("1", [block([4.0] * 1000, status=[503] * 5 + [200] * 995)], limit_ms=10)
    assert requirement("errors <= 0.5%").outcome(failed, None)[0]
    assert not requirement("errors <= 0.4%").outcome(failed, None)[0]


def test_a_ratio_without_an_interval_was_not_shown() -> None:
    met, seen = requirement("p50 <= 0.9x").outcome(OWN, replace(FOUND, p50=Figure(0.5)))
    assert not met and seen == "0.5, of too few rounds for an interval"


def test_what_was_not_measured_is_not_met() -> None:
    assert requirement("p99 <= 100x").outcome(OWN, replace(FOUND, p99=None)) == (False, "not measured")
    assert requirement("p99 <= 100x").outcome(OWN, None) == (False, "not measured")
