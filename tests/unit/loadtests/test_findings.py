"""From blocks to findings: agreement by what was seen, requirements asked of variants, and what makes a run invalid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtests.findings import agreement, classes, held, problems, summaries
from loadtests.generator.block import NOT_CONNECTED
from loadtests.measures.observed import Observed
from loadtests.outcome import Entry
from loadtests.pools import Rows
from loadtests.requirements import requirement
from loadtests.verdict import advice, sentence, versus
from tests.unit.loadtests.blocks import block


def contender(expected: list[int] | None, rows: int = 4) -> Any:
    """Of four rows, of which it answers these classes when it is asked alone."""
    known = None if expected is None else {"out": np.eye(10, dtype=np.float32)[expected]}
    return SimpleNamespace(pool=SimpleNamespace(rows=Rows({"in": np.zeros((rows, 1))}, expected=known), output="out"))


def test_a_class_is_the_one_under_load_else_the_one_alone_else_unknown() -> None:
    seen = block([1.0, 1.0], classes=[7, -1])
    assert classes(contender([1, 2, 3, 4]), [seen]).tolist() == [7, 2, 3, 4]
    assert classes(contender(None), [seen]).tolist() == [7, -1, -1, -1]


def test_agreement_is_over_the_rows_that_both_named() -> None:
    one, other = contender([1, 2, 3, 4]), contender([1, 2, 3, 5])
    assert agreement(one, [], other, []) == pytest.approx(0.75)
    assert agreement(contender(None), [block([1.0], classes=[1])], other, []) == 1
    assert agreement(contender(None), [], other, []) is None


FULL = [block([5.0] * 200, version="1", number=at) for at in range(6)]
QUICK = [block([2.0] * 200, version="1-int8", number=at) for at in range(6)]
ENTRIES = (Entry("1", "u", "1"), Entry("1-int8", "u", "1-int8", full="1"))


def test_requirements_are_asked_of_variants_only() -> None:
    blocks = {"1": FULL, "1-int8": QUICK}
    figures = summaries(blocks, 10, seed=0)
    wanted = [requirement("p99 <= 0.8x"), requirement("p99 <= 3ms")]
    asked = held(wanted, ENTRIES, figures, [versus(QUICK, FULL, agreement=1.0)])
    assert [(one.label, one.met) for one in asked] == [("1-int8", True), ("1-int8", True)]


def test_of_a_single_version_they_are_asked_too() -> None:
    figures = summaries({"1": FULL}, 10, seed=0)
    (one,) = held([requirement("p99 <= 3ms")], ENTRIES[:1], figures, [])
    assert not one.met and one.label == "1"


def test_what_was_interrupted_before_a_whole_round_is_not_met() -> None:
    (one,) = held([requirement("p99 <= 3ms")], ENTRIES, {}, [])
    assert not one.met and one.seen == "not measured"


def judged(blocks: list[Observed]) -> tuple[str, ...]:
    return problems(summaries({"1": blocks}, 10, seed=0), {"1": blocks})


def test_a_calm_run_is_valid_and_a_late_generator_makes_it_invalid() -> None:
    assert judged([block([5.0] * 100, lag_ms=4.9)]) == ()
    (told,) = judged([block([5.0] * 100, lag_ms=6.0)])
    assert "6.0 ms late" in told and "--cores" in told


def test_requests_that_were_never_offered_make_it_invalid() -> None:
    one = block([5.0] * 100, status=[200] * 90 + [NOT_CONNECTED] * 10)
    assert judged([one]) == ()
    one.sent.sent_s[90:] = np.nan
    (told,) = judged([one])
    assert "10 of the 100 requests to 1 could not be offered" in told


def told(own: list[Observed], full: list[Observed], agreed: float | None = 0.997) -> str:
    figures = summaries({"own": own, "full": full}, 10, seed=0)
    return sentence(versus(own, full, agreement=agreed), figures["own"], figures["full"])


def test_a_quicker_variant_that_agrees_is_shipped() -> None:
    said = told(QUICK, FULL)
    assert said.startswith("1-int8 carries the same traffic at 0.40x") and said.endswith("agreement 99.7%; ship it")


@pytest.mark.parametrize(
    ("own", "agreed", "said"),
    [
        (FULL, 1.0, "ship it only for its size"),
        ([block([9.0] * 200, version="1-int8", number=at) for at in range(6)], 1.0, "do not ship it for speed"),
        (QUICK, 0.9, "an agreement of at least 98% is asked"),
        ([block([2.0] * 200, number=at, checked=0) for at in range(6)], 1.0, "1200 of its answers were wrong"),
        ([block([2.0] * 4, number=at, status=[200, 200, 200, 503]) for at in range(6)], 1.0, "25.00% of its requests"),
    ],
)
def test_advice_against(own: list[Observed], agreed: float, said: str) -> None:
    figures = summaries({"own": own, "full": FULL}, 10, seed=0)
    assert said in advice(versus(own, FULL, agreement=agreed), figures["own"], figures["full"])
