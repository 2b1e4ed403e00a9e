"""The gate's rules for other tasks by tables: each at its limit, one step inside and one step outside."""

from dataclasses import replace
from typing import Any

import pytest

from models.evaluate.evidence import Embedded, Evidence, Facts, Regressed, Unlabelled
from models.evaluate.gate import PROFILES, Decision, judge
from service.repository.card_tasks import EmbeddingPaired, RegressionPaired, UnlabelledPaired

DEFAULT, STRICT = PROFILES["default"], PROFILES["strict"]


def regressed(n: int = 500, ratio: float = 1.0, lower: float = 0.995, upper: float = 1.005, low: float = 0.99) -> Facts:
    paired = RegressionPaired(
        full_rmse=2.0,
        full_mae=1.0,
        error_ratio=ratio,
        error_ratio_interval_95=(low, upper + 0.001),
        error_ratio_lower_95=lower,
        error_ratio_upper_95=upper,
        relative_l2=0.01,
    )
    return Regressed(n, 2.0 * ratio, paired)


def embedded(n: int = 500, recall: float | None = None, **changes: Any) -> Facts:
    paired = EmbeddingPaired(
        cosine_mean=0.9995,
        cosine_p01=0.995,
        neighbour_recall=0.99,
        neighbour_recall_lower_95=0.985,
        neighbour_recall_upper_95=0.995,
    )
    return Embedded(n, recall, paired.model_copy(update=changes))


def labelled(own: float = 0.9, delta: float = 0.0, lower: float = -0.005, upper: float = 0.005, n: int = 500) -> Facts:
    changes = {"full_label_recall": own - delta, "label_recall_delta": delta}
    return embedded(n, own, **changes, label_recall_lower_95=lower, label_recall_upper_95=upper)


def judged(facts: Facts, profile: str = "default", **changes: Any) -> Decision:
    return judge(replace(Evidence(facts, 0, True, True, 0.0, full_bytes=100, bytes=25), **changes), PROFILES[profile])


def outcome(decision: Decision, name: str) -> str:
    return next(rule.outcome for rule in decision.rules if rule.name == name)


@pytest.mark.parametrize("facts", [regressed(), embedded(), labelled()])
def test_good_ones_pass_and_every_rule_says_why(facts: Facts) -> None:
    decision = judged(facts)
    assert decision.verdict == "pass", decision.reasons
    assert len(decision.reasons) == len(decision.rules) >= 4
    assert all(rule.sentence.startswith(f"{rule.name}: ") for rule in decision.rules)


@pytest.mark.parametrize("facts", [regressed(), embedded(), labelled()])
@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"non_finite_rows": 1}, "soundness"),
        ({"same_signature": False}, "soundness"),
        ({"deterministic": False}, "soundness"),
        ({"bytes": 91}, "worth it"),
    ],
)
def test_soundness_and_worth_are_asked_of_every_task(facts: Facts, changes: dict[str, Any], name: str) -> None:
    decision = judged(facts, **changes)
    assert (decision.verdict, outcome(decision, name)) == ("fail", "fail")


@pytest.mark.parametrize(
    ("profile", "ratio", "expected"),
    [
        ("default", 1.0101, "pass"),
        ("default", 1.0102, "fail"),
        ("strict", 1.001, "pass"),
        ("strict", 1.0011, "fail"),
        ("strict", 0.5, "pass"),
    ],
)
def test_the_error_may_grow_by_the_margin(profile: str, ratio: float, expected: str) -> None:
    assert outcome(judged(regressed(ratio=ratio), profile), "error") == expected


@pytest.mark.parametrize(
    ("n", "lower", "upper", "expected"),
    [
        (500, 0.99, 1.0101, "pass"),
        (10_000, 1.0, 1.0102, "fail"),  # there were rows enough, and the bound is outside
        (500, 0.98, 1.02, "insufficient-data"),
        (500, 1.011, 1.2, "fail"),  # shown worse, however few rows
        (49, 1.0, 1.0, "insufficient-data"),  # nothing bad was seen in rows too few for a bootstrap
        (50, 1.0, 1.0, "pass"),
        (49, 1.2, 1.4, "fail"),
    ],
)
def test_a_regression_must_be_shown_to_be_good_enough(n: int, lower: float, upper: float, expected: str) -> None:
    assert outcome(judged(regressed(n=n, lower=lower, upper=upper)), "non-inferiority") == expected


def test_how_many_rows_it_takes_is_told() -> None:
    (reason,) = judged(regressed(n=500, lower=0.98, upper=1.02)).reasons
    assert "500 rows are too few to decide, about 4" in reason
    assert "are needed" in reason


@pytest.mark.parametrize(("profile", "low", "expected"), [("default", 1.0001, "pass"), ("strict", 1.0001, "fail")])
def test_measurably_worse_fails_the_strict_profile_only(profile: str, low: float, expected: str) -> None:
    decision = judged(regressed(low=low), profile)
    assert outcome(decision, "measurably worse") == expected
    assert outcome(judged(regressed(low=0.9999), "strict"), "measurably worse") == "pass"


@pytest.mark.parametrize(("cosine", "expected"), [(0.99, "pass"), (0.98999, "fail"), (-1.0, "fail")])
def test_the_cosines_first_percentile(cosine: float, expected: str) -> None:
    assert outcome(judged(embedded(cosine_p01=cosine)), "cosine") == expected


@pytest.mark.parametrize(
    ("recall", "lower", "upper", "point", "shown"),
    [
        (0.98, 0.98, 0.99, "pass", "pass"),
        (0.9799, 0.98, 0.99, "fail", "pass"),
        (0.985, 0.9799, 0.99, "pass", "insufficient-data"),
        (0.97, 0.96, 0.9799, "fail", "fail"),
        (0.979, 0.97, 0.985, "fail", "fail"),  # however many rows, it would not be shown
    ],
)
def test_neighbours_without_labels(recall: float, lower: float, upper: float, point: str, shown: str) -> None:
    changes = {"neighbour_recall_lower_95": lower, "neighbour_recall_upper_95": upper}
    decision = judged(embedded(n=100, neighbour_recall=recall, **changes))
    assert (outcome(decision, "recall@1"), outcome(decision, "non-inferiority")) == (point, shown)


@pytest.mark.parametrize(
    ("delta", "lower", "point", "shown"),
    [(0.0, -0.009, "pass", "pass"), (-0.0095, -0.0091, "fail", "fail"), (-0.001, -0.02, "pass", "insufficient-data")],
)
def test_neighbours_with_labels(delta: float, lower: float, point: str, shown: str) -> None:
    n = 100_000 if shown == "fail" else 500
    upper = -0.0001 if shown == "fail" else 0.005
    decision = judged(labelled(own=0.9, delta=delta, lower=lower, upper=upper, n=n))
    assert (outcome(decision, "recall@1"), outcome(decision, "non-inferiority")) == (point, shown)


def test_neighbours_measurably_lost_fail_the_strict_profile_only() -> None:
    facts = labelled(lower=-0.0008, upper=-0.0001, delta=-0.0005)
    assert outcome(judged(facts), "measurably worse") == "pass"
    assert outcome(judged(facts, "strict"), "measurably worse") == "fail"


@pytest.mark.parametrize("agreement", [1.0, 0.5, None])
def test_without_a_test_set_nothing_is_shown(agreement: float | None) -> None:
    paired = UnlabelledPaired(top1_agreement=agreement, relative_l2=0.01, cosine_p01=0.99)
    decision = judged(Unlabelled(100, paired))
    assert decision.verdict == "insufficient-data"
    (reason,) = decision.reasons
    assert reason.startswith("test set: none was given")
    assert "on 100 calibration rows" in reason
    assert ("the same class" in reason) == (agreement is not None)


def test_without_a_test_set_what_is_unsound_still_fails() -> None:
    paired = UnlabelledPaired(relative_l2=0.01, cosine_p01=0.99)
    assert judged(Unlabelled(100, paired), non_finite_rows=1).verdict == "fail"
