"""Whether to ship: every kind of finding has one word, what forbids comes first, and too little data no firm word."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest

from loadtests.advice import Case, advice, sentence
from loadtests.measures.agreement import Agreement
from loadtests.measures.resampling import Figure
from loadtests.measures.summary import Summary
from loadtests.outcome import Card
from loadtests.verdict import Difference, Versus

QUICKER, SAME, SLOWER = (Figure(value, (value - 0.03, value + 0.04)) for value in (0.43, 1.0, 1.3))
FIGURES: dict[Difference, Figure] = {"faster": QUICKER, "no difference": SAME, "slower": SLOWER}
TWICE, EQUAL, HALF = (Figure(value, (value * 0.95, value * 1.06)) for value in (2.2, 1.0, 0.5))
UNSURE = Figure(2.2, (0.4, 12.0))
PASSED = Card("1", "int8-static", 200, verdict="pass", reasons=("accuracy: well",))
REFUSED = Card("1", verdict="fail", reasons=("accuracy: 0.5",))
MANY, FEW = Agreement(598, 600), Agreement(32, 32)


def summary(errors: dict[str, int] | None = None) -> Summary:
    nothing, unknown = Figure(0.0), [None] * 6
    return Summary("1-int8", 30, 6000, 200.0, nothing, {}, nothing, nothing, None, errors or {}, *unknown, 0.1)


def case(
    difference: Difference = "faster",
    rate: Figure | None = TWICE,
    *,
    agreement: Agreement | None = MANY,
    card: Card = PASSED,
    errors: dict[str, int] | None = None,
    p99: bool = True,
) -> Case:
    seen = FIGURES[difference]
    found = Versus("1-int8", "1", seen, seen if p99 else None, rate, agreement, difference)
    return Case(found, summary(errors), summary(), card, Card(size_bytes=800))


def test_the_sentence_says_what_was_found_and_what_follows() -> None:
    assert sentence(case()) == (
        "1-int8 carries the same traffic at 0.43x the p99 [0.40, 0.47] and 0.43x the p50 [0.40, 0.47] of 1 and holds "
        "2.20x the rate [2.09, 2.33]; agreement 99.7% [98.8%, 100.0%] of 600 rows; the gate's verdict: pass; ship it"
    )


def test_an_invalid_run_says_what_it_saw_and_that_it_proves_nothing() -> None:
    said = sentence(replace(case(), valid=False))
    begin = "this run is invalid and its times prove nothing; what it saw: 1-int8 carries the same traffic"
    assert said.startswith(begin)
    assert said.endswith("whether to ship it is open: the run is invalid")


@pytest.mark.parametrize(
    ("difference", "rate", "said"),
    [
        ("faster", TWICE, "ship it"),
        ("faster", EQUAL, "ship it"),
        ("faster", None, "ship it"),
        ("faster", UNSURE, "ship it"),
        ("faster", HALF, "do not ship it: it is quicker at this traffic, but holds less"),
        ("no difference", TWICE, "ship it"),
        ("no difference", UNSURE, "ship it only for its size, 0.25x"),
        ("no difference", EQUAL, "ship it only for its size, 0.25x"),
        ("no difference", None, "ship it only for its size, 0.25x"),
        ("no difference", HALF, "do not ship it for speed: it holds less"),
        ("slower", TWICE, "ship it only where rate counts for more than latency"),
        ("slower", EQUAL, "do not ship it for speed"),
        ("slower", None, "do not ship it for speed"),
        ("slower", HALF, "do not ship it for speed"),
    ],
)
def test_latency_and_rate_both_count(difference: Difference, rate: Figure | None, said: str) -> None:
    assert advice(case(difference, rate)) == said


def test_neither_quicker_nor_smaller_is_nothing() -> None:
    larger = Card("1", size_bytes=900, verdict="pass")
    assert advice(case("no difference", None, card=larger)).startswith("nothing speaks for it")
    unknown = Card("1", verdict="pass")
    assert advice(case("no difference", None, card=unknown)) == "ship it only for its size"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"errors": {"wrong answer": 3}}, "do not ship it: 3 of its answers were wrong"),
        ({"errors": {"status 503": 12}}, "do not ship it: 0.20% of its requests failed, 0.00% of the full version's"),
        ({"card": REFUSED}, "do not ship it: the gate refused it (accuracy: 0.5)"),
        ({"agreement": Agreement(500, 600)}, "do not ship it: an agreement of at least 98% is asked"),
    ],
)  # fmt: skip
def test_what_forbids_it_is_said_however_quick_it_is(given: dict[str, object], said: str) -> None:
    assert advice(case(**given)) == said  # type: ignore[arg-type]


def test_an_invalid_run_advises_nothing_that_rests_on_its_times() -> None:
    invalid = replace(case(), valid=False)
    assert advice(invalid) == "whether to ship it is open: the run is invalid"
    assert advice(replace(invalid, card=REFUSED)).startswith("do not ship it: the gate refused it")


def test_a_few_failures_as_of_the_full_version_forbid_nothing() -> None:
    assert advice(case(errors={"status 503": 6})) == "ship it"


NO_GATE = Card("1", size_bytes=200)


@pytest.mark.parametrize(
    ("agreement", "card", "firm"),
    [
        (MANY, PASSED, True),
        (MANY, NO_GATE, True),
        (FEW, PASSED, True),  # the gate's test set is what its answers were judged on
        (FEW, NO_GATE, False),  # 32 of 32 leave 89 % possible
        (Agreement(502, 512), PASSED, True),
        (Agreement(502, 512), NO_GATE, False),
        (Agreement(31, 32), PASSED, False),
        (None, PASSED, True),
        (None, NO_GATE, False),
        (MANY, Card("1", verdict="insufficient-data", reasons=("rows: 20 are too few",)), False),
    ],
)
def test_a_firm_word_needs_answers_that_are_known_to_be_good(
    agreement: Agreement | None, card: Card, firm: bool
) -> None:
    assert (advice(case(agreement=agreement, card=card)) == "ship it") is firm


def test_what_is_missing_is_said() -> None:
    assert "neither shown nor refuted by 32 rows" in advice(case(agreement=FEW, card=NO_GATE))
    assert "nothing here tells that" in advice(case(agreement=None, card=NO_GATE))
    short = Card("1", verdict="insufficient-data", reasons=("rows: 20 are too few",))
    assert advice(case(card=short)).endswith("the gate had too little data (rows: 20 are too few)")


def test_too_few_answers_tell_of_no_p99() -> None:
    said = sentence(case(p99=False))
    assert "x the p99" not in said and "too few to tell of a p99" in said and said.endswith("ship it")


def test_of_no_answers_no_figure_is_told() -> None:
    nothing = Figure(nan)
    found = replace(case("no difference", None).found, p50=nothing, p99=None)
    said = sentence(replace(case("no difference", None), found=found))
    assert said.startswith("nothing is known of the latency of 1-int8 beside 1, for want of answers; ")
    assert "nan" not in said


def test_no_difference_is_told_with_its_intervals_and_the_rate() -> None:
    said = sentence(case("no difference", TWICE))
    assert said.startswith(
        "no difference in latency to 1 was shown for 1-int8 (p50 1.00x [0.97, 1.04], p99 1.00x [0.97, 1.04]), but it "
        "holds 2.20x the rate [2.09, 2.33]; "
    )
    assert "[0.97, 1.04]), nor one in what it holds: 1.00x the rate [0.95, 1.06]; " in sentence(
        case("no difference", EQUAL)
    )
