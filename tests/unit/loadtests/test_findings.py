"""From blocks to findings: agreement by what was seen, requirements asked of variants, and what makes a run invalid."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtests.findings import agreement, case_of, classes, differences, held, problems, summaries
from loadtests.generator.block import EXHAUSTED, NOT_CONNECTED
from loadtests.measures.agreement import Agreement
from loadtests.measures.observed import Observed
from loadtests.outcome import Card, Entry
from loadtests.pools import Rows
from loadtests.requirements import requirement
from loadtests.verdict import versus
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
    assert agreement(one, [], other, []) == Agreement(3, 4)
    assert agreement(contender(None), [block([1.0], classes=[1])], other, []) == Agreement(1, 1)
    assert agreement(contender(None), [], other, []) is None


FULL = [block([5.0] * 200, version="1", number=at) for at in range(8)]
QUICK = [block([2.0] * 200, version="1-int8", number=at) for at in range(8)]
ENTRIES = (Entry("1", "u", "1"), Entry("1-int8", "u", "1-int8", full="1"))


def test_too_few_answers_of_either_version_make_no_p99() -> None:
    few = [block([2.0] * 12, number=at) for at in range(8)]
    assert versus(QUICK, FULL, agreement=None).p99 is not None
    assert versus(few, FULL, agreement=None).p99 is None
    assert versus(FULL, few, agreement=None).p99 is None


def test_requirements_are_asked_of_variants_only() -> None:
    blocks = {"1": FULL, "1-int8": QUICK}
    figures = summaries(blocks, 10, seed=0)
    wanted = [requirement("p99 <= 0.8x"), requirement("p99 <= 3ms")]
    asked = held(wanted, ENTRIES, figures, [versus(QUICK, FULL, agreement=None)])
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


def test_requests_that_the_generator_had_no_descriptor_for_make_it_invalid() -> None:
    (told,) = judged([block([5.0] * 100, status=[200] * 90 + [EXHAUSTED] * 10)])
    assert "10 of the 100 requests to 1 could not be offered" in told and "ulimit -n" in told


def test_a_server_that_is_reached_no_more_makes_it_invalid() -> None:
    gone = [block([5.0] * 100, status=[NOT_CONNECTED] * 100, number=at) for at in (1, 2)]
    (told,) = judged([block([5.0] * 100), *gone])
    assert told == "No request reached 1 in the last 2 of 3 rounds."
    assert judged([*gone, block([5.0] * 100, number=3)]) == ()  # it came back: these are its errors


def named(task: str | None) -> Any:
    """Both versions as contenders and entries, of a model with this task."""
    both = [contender([1, 2, 3, 4]), contender([1, 2, 3, 5])]
    for one, entry in zip(both, ENTRIES, strict=True):
        one.label = entry.label
    return both, tuple(replace(entry, card=Card(task=task, size_bytes=5)) for entry in ENTRIES)


@pytest.mark.parametrize(
    ("task", "seen"), [(None, Agreement(3, 4)), ("classification", Agreement(3, 4)), ("embedding", None)]
)
def test_an_embedding_names_no_class_to_agree_on(task: str | None, seen: Agreement | None) -> None:
    both, entries = named(task)
    (found,) = differences(entries, both, {"1": FULL, "1-int8": QUICK}, {})
    assert found.agreement == seen and found.difference == "faster"


def test_the_advice_is_given_both_cards() -> None:
    both, entries = named(None)
    blocks = {"1": FULL, "1-int8": QUICK}
    (found,) = differences(entries, both, blocks, {})
    case = case_of(found, entries, summaries(blocks, 10, seed=0), valid=True)
    assert case.own.version == "1-int8" and case.full.version == "1"
    assert case.card.size_bytes == case.full_card.size_bytes == 5
