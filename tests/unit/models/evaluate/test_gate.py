"""The gate's rules by tables: each at its limit, one step inside and one step outside."""

from dataclasses import fields, replace
from typing import Any

import pytest

from models.evaluate.evidence import ClassCount, Classified, Evidence
from models.evaluate.gate import PROFILES, Decision, gain_kind, judge, mixes

DEFAULT, STRICT = PROFILES["default"], PROFILES["strict"]

GOOD = Evidence(
    facts=Classified(
        n=1000,
        full_right=950,
        b=2,
        c=2,
        flips=5,
        classes=(ClassCount(500, 480, 480), ClassCount(500, 470, 470)),
    ),
    non_finite_rows=0,
    same_signature=True,
    deterministic=True,
    sensitivity=0.0,
    full_bytes=1000,
    bytes=250,
    full_resident_bytes=1000,
    resident_bytes=1000,
    speedups=((1.2, 1.4), (0.9, 1.1)),
)
OF_CLASSIFIED = {one.name for one in fields(Classified)}


def changed(evidence: Evidence, **changes: Any) -> Evidence:
    """The evidence with other figures, wherever in it they stand."""
    assert isinstance(evidence.facts, Classified)
    facts = replace(evidence.facts, **{key: one for key, one in changes.items() if key in OF_CLASSIFIED})
    return replace(evidence, facts=facts, **{key: one for key, one in changes.items() if key not in OF_CLASSIFIED})


def outcome(decision: Decision, name: str) -> str:
    return next(rule.outcome for rule in decision.rules if rule.name == name)


def test_a_good_variant_passes_and_every_rule_says_why() -> None:
    decision = judge(GOOD, DEFAULT)
    assert decision.verdict == "pass"
    assert [rule.name for rule in decision.rules] == [
        "accuracy",
        "non-inferiority",
        "exact McNemar",
        "agreement",
        "bad flips",
        "recall of class 0",
        "recall of class 1",
        "soundness",
        "worth it",
    ]
    assert decision.reasons == tuple(rule.sentence for rule in decision.rules)
    assert all(rule.sentence.startswith(rule.name) for rule in decision.rules)


@pytest.mark.parametrize(
    ("profile", "full_right", "b", "c", "expected"),
    [
        ("default", 1000, 10, 0, "pass"),  # 990 = 0.99 x 1000, exactly
        ("default", 1000, 11, 0, "fail"),
        ("default", 900, 9, 0, "pass"),  # 891 = 0.99 x 900
        ("default", 900, 10, 0, "fail"),
        ("default", 950, 9, 0, "pass"),  # 941 >= 940.5
        ("default", 950, 10, 0, "fail"),
        ("default", 900, 30, 30, "pass"),
        ("strict", 1000, 1, 0, "pass"),  # 999 = 0.999 x 1000
        ("strict", 1000, 2, 0, "fail"),
        ("strict", 900, 1, 0, "fail"),  # 899 < 899.1
        ("strict", 900, 0, 0, "pass"),
    ],
)
def test_accuracy_is_kept_to_the_row(profile: str, full_right: int, b: int, c: int, expected: str) -> None:
    decision = judge(changed(GOOD, full_right=full_right, b=b, c=c), PROFILES[profile])
    assert outcome(decision, "accuracy") == expected


@pytest.mark.parametrize(
    ("n", "b", "c", "expected"),
    [
        (600, 2, 0, "pass"),  # lower bound -0.00878
        (600, 3, 0, "insufficient-data"),  # -0.01108, and about 630 rows are needed for so little discordance
        (1200, 9, 0, "fail"),  # -0.0120, and 680 rows would have sufficed
        (600, 0, 3, "pass"),
        (600, 12, 10, "insufficient-data"),
        (600, 100, 0, "fail"),  # too few rows for so much discordance, were it not plain that it is worse
        (100, 0, 0, "insufficient-data"),  # nothing bad was seen, but 100 rows show little
        (240, 0, 0, "pass"),  # -0.0096
        (20_000, 150, 0, "pass"),  # -0.0085
        (20_000, 190, 0, "fail"),  # enough rows, and the bound is still below
        (20_000, 400, 0, "fail"),
    ],
)
def test_non_inferiority_must_be_shown(n: int, b: int, c: int, expected: str) -> None:
    evidence = changed(GOOD, n=n, full_right=n, b=b, c=c, flips=b + c, classes=())
    assert outcome(judge(evidence, DEFAULT), "non-inferiority") == expected


def test_the_margin_is_a_share_of_the_full_versions_accuracy() -> None:
    """The same counts pass against a full version of 100 % and not against one of 60 %."""
    evidence = changed(GOOD, n=600, b=2, c=0, flips=2, classes=())
    assert outcome(judge(changed(evidence, full_right=600), DEFAULT), "non-inferiority") == "pass"
    assert outcome(judge(changed(evidence, full_right=360), DEFAULT), "non-inferiority") == "insufficient-data"


def test_the_strict_margin_is_a_tenth() -> None:
    evidence = changed(GOOD, n=20_000, full_right=20_000, b=5, c=5, flips=10, classes=())
    assert outcome(judge(evidence, DEFAULT), "non-inferiority") == "pass"
    assert outcome(judge(changed(evidence, n=600, full_right=600, b=0, c=0), STRICT), "non-inferiority") == (
        "insufficient-data"
    )
    large = changed(evidence, n=10**6, full_right=10**6, b=300, c=300, flips=600)
    assert outcome(judge(large, STRICT), "non-inferiority") == "pass"


def test_a_full_version_that_is_always_wrong_leaves_no_margin() -> None:
    evidence = changed(GOOD, full_right=0, b=0, c=0, flips=0, classes=())
    assert outcome(judge(evidence, DEFAULT), "non-inferiority") == "fail"


@pytest.mark.parametrize(
    ("profile", "b", "c", "expected"),
    [
        ("default", 6, 0, "pass"),  # p = 0.031: measurably worse, which the default profile only reports
        ("strict", 6, 0, "fail"),
        ("strict", 5, 0, "pass"),  # p = 0.063
        ("strict", 0, 6, "pass"),  # measurably better
        ("strict", 30, 30, "pass"),
    ],
)
def test_measurably_worse_fails_the_strict_profile_only(profile: str, b: int, c: int, expected: str) -> None:
    decision = judge(changed(GOOD, b=b, c=c), PROFILES[profile])
    assert outcome(decision, "exact McNemar") == expected
    sentence = next(rule.sentence for rule in decision.rules if rule.name == "exact McNemar")
    assert ("measurably worse" in sentence) == (b == 6)
    assert f"b = {b}, c = {c}, p = " in sentence


def test_a_large_p_is_no_pass() -> None:
    """No discordant row in 50 gives p = 1, and still nothing was shown."""
    decision = judge(changed(GOOD, n=50, full_right=50, b=0, c=0, flips=0, classes=()), DEFAULT)
    assert outcome(decision, "exact McNemar") == "pass"
    assert decision.verdict == "insufficient-data"


@pytest.mark.parametrize(("flips", "expected"), [(0, "pass"), (20, "pass"), (21, "fail"), (1000, "fail")])
def test_agreement_of_98_percent(flips: int, expected: str) -> None:
    assert outcome(judge(changed(GOOD, flips=flips), DEFAULT), "agreement") == expected


@pytest.mark.parametrize(("b", "expected"), [(0, "pass"), (10, "pass"), (11, "fail")])
def test_bad_flips_of_one_percent(b: int, expected: str) -> None:
    assert outcome(judge(changed(GOOD, b=b, c=b), DEFAULT), "bad flips") == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (ClassCount(100, 95, 92), "pass"),  # exactly 3 points
        (ClassCount(100, 95, 91), "fail"),
        (ClassCount(200, 200, 194), "pass"),
        (ClassCount(200, 200, 193), "fail"),
        (ClassCount(100, 50, 100), "pass"),
        (ClassCount(99, 99, 0), None),  # too small a class to be judged
        (ClassCount(0, 0, 0), None),
    ],
)
def test_recall_of_large_classes(one: ClassCount, expected: str | None) -> None:
    decision = judge(changed(GOOD, classes=(one,)), DEFAULT)
    found = [rule.outcome for rule in decision.rules if rule.name == "recall of class 0"]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"non_finite_rows": 1}, "1 rows with NaN"),
        ({"same_signature": False}, "differ from the full version's"),
        ({"deterministic": False}, "change from run to run"),
    ],
)
def test_an_unsound_variant_fails(change: dict[str, object], said: str) -> None:
    decision = judge(changed(GOOD, **change), DEFAULT)
    assert decision.verdict == "fail"
    assert len(decision.reasons) == 1
    assert said in decision.reasons[0]


@pytest.mark.parametrize(
    ("sensitivity", "expected"), [(0.0, True), (1e-3, True), (1.01e-3, False), (0.17, False), (None, False)]
)
def test_dependence_on_batch_mates_forbids_mixing_and_fails_nothing(sensitivity: float | None, expected: bool) -> None:
    evidence = changed(GOOD, sensitivity=sensitivity)
    assert mixes(evidence) is expected
    assert judge(evidence, DEFAULT).verdict == "pass"


@pytest.mark.parametrize(
    ("size", "speedups", "expected"),
    [
        (900, (), "pass"),
        (901, (), "fail"),
        (901, ((1.051, 1.5),), "pass"),
        (901, ((1.05, 1.5),), "fail"),  # two sessions of one file may differ as much
        (901, ((1.0, 1.5),), "fail"),  # the interval does not exclude 1
        (901, ((1.2, 1.5), (0.9, 0.953)), "pass"),  # measurably slower by no more than that
        (901, ((1.2, 1.5), (0.9, 0.952)), "fail"),
        (901, ((0.99, 1.5),), "fail"),
        (2000, ((1.2, 1.5), (0.5, 0.9)), "fail"),  # faster at one batch size, slower at another
        (2000, ((1.2, 1.5), (0.9, 1.1)), "pass"),
    ],
)
def test_it_must_be_worth_it(size: int, speedups: tuple[tuple[float, float], ...], expected: str) -> None:
    decision = judge(changed(GOOD, bytes=size, speedups=speedups), DEFAULT)
    assert outcome(decision, "worth it") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "speed"),
        ({"speedups": ()}, "storage-only"),
        ({"speedups": ((0.4, 0.6),)}, "storage-only"),
        ({"speedups": ((0.4, 0.6),), "resident_bytes": 900}, "memory"),
        ({"speedups": (), "resident_bytes": 901}, "storage-only"),
        ({"speedups": (), "resident_bytes": None}, "storage-only"),
        ({"speedups": (), "resident_bytes": 500, "full_resident_bytes": None}, "storage-only"),
        ({"speedups": (), "bytes": 901}, "none-here"),
        ({"speedups": (), "bytes": 901, "resident_bytes": 10}, "none-here"),  # no smaller, no faster: rule 7
    ],
)
def test_gain_is_named_honestly(change: dict[str, object], expected: str) -> None:
    assert gain_kind(changed(GOOD, **change)) == expected


def test_a_failure_outweighs_missing_data() -> None:
    decision = judge(changed(GOOD, n=50, full_right=50, b=0, c=0, flips=2, classes=()), DEFAULT)
    assert outcome(decision, "non-inferiority") == "insufficient-data"
    assert outcome(decision, "agreement") == "fail"
    assert decision.verdict == "fail"
    assert decision.reasons == tuple(r.sentence for r in decision.rules if r.outcome == "fail")


def test_too_few_rows_are_said_with_how_many_it_takes() -> None:
    decision = judge(changed(GOOD, n=100, full_right=99, b=0, c=0, flips=0, classes=()), DEFAULT)
    assert decision.verdict == "insufficient-data"
    (reason,) = decision.reasons
    assert "100 rows are too few to decide, about 1297 are needed" in reason
