"""The gate: may this variant answer in place of its full version? Pure functions of what was measured.

Non-inferiority on paired test rows: a variant must be shown to be good enough; that nothing bad was shown does not
do. Rule 1 is MLPerf's. Knows nothing of how the evidence was measured, nor of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from models.evaluate import statistics
from service.repository.card_measures import Verdict

ProfileName = Literal["default", "strict"]
GainKind = Literal["speed", "memory", "storage-only", "none-here"]

LEAST_AGREEMENT = Fraction(98, 100)
MOST_BAD_FLIPS = Fraction(1, 100)
MOST_RECALL_LOSS = Fraction(3, 100)
LEAST_CLASS_SAMPLES = 100
MOST_SENSITIVITY = 1e-3
WORTHWHILE_SIZE = Fraction(9, 10)
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Profile:
    """How strict: the share of the full version's accuracy to keep, and whether "measurably worse" is a failure."""

    name: ProfileName
    keep: Fraction
    refuses_measurably_worse: bool

    @property
    def margin(self) -> Fraction:
        """The loss, as a share of the full version's accuracy, that is still good enough."""
        return 1 - self.keep


PROFILES = {
    "default": Profile("default", Fraction(99, 100), refuses_measurably_worse=False),
    "strict": Profile("strict", Fraction(999, 1000), refuses_measurably_worse=True),
}


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class of the test set: its rows, and how many of them each version has right."""

    support: int
    full_right: int
    right: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a variant on one provider and CPU class.

    Attributes:
        n: test rows.
        full_right: rows that the full version has right.
        b: rows that the full version has right and the variant wrong.
        c: the reverse.
        flips: rows on which the two give different classes.
        classes: in label order.
        non_finite_rows: rows for which the variant gave a NaN or an infinity.
        same_signature: whether names, shapes and dtypes are the full version's.
        deterministic: whether a second run gave the same bytes.
        sensitivity: what batch-mates change (`models.evaluate.sensitivity`); None when there is no batch axis.
        full_bytes: size of the full version's files; `bytes` the variant's.
        full_resident_bytes: what the full version adds to a process; `resident_bytes` the variant; None if unknown.
        speedups: lower and upper end of the 95 % interval of full time / variant time, for each batch size.
    """

    n: int
    full_right: int
    b: int
    c: int
    flips: int
    classes: tuple[ClassCount, ...]
    non_finite_rows: int
    same_signature: bool
    deterministic: bool
    sensitivity: float | None
    full_bytes: int
    bytes: int
    full_resident_bytes: int | None = None
    resident_bytes: int | None = None
    speedups: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule applied: its name, its outcome, and one sentence with the figure and the limit."""

    name: str
    outcome: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, with every rule in order; `reasons` are the sentences of those that decided it."""

    verdict: Verdict
    rules: tuple[Rule, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the rules whose outcome is the verdict."""
        return tuple(rule.sentence for rule in self.rules if rule.outcome == self.verdict)


def judge(evidence: Evidence, profile: Profile) -> Decision:
    """Applies every rule; one that fails makes the verdict "fail", else one that cannot decide makes it so."""
    rules = (
        _accuracy(evidence, profile),
        _non_inferior(evidence, profile),
        _mcnemar(evidence, profile),
        _agreement(evidence),
        _bad_flips(evidence),
        *_recalls(evidence),
        _sound(evidence),
        _worthwhile(evidence),
    )
    outcomes = {rule.outcome for rule in rules}
    verdicts: tuple[Verdict, ...] = ("fail", "insufficient-data", "pass")
    return Decision(next(v for v in verdicts if v in outcomes), rules)


def mixes(evidence: Evidence) -> bool:
    """Whether its requests may share a batch: a row's answer is the same within `MOST_SENSITIVITY` in any company."""
    return evidence.sensitivity is not None and evidence.sensitivity <= MOST_SENSITIVITY


def gain_kind(evidence: Evidence) -> GainKind:
    """What the variant gains on this machine: the most useful of the kinds that were measured.

    Speed: faster at some measured batch size and slower at none, each by an interval that excludes 1.
    """
    if any(low > 1 for low, _ in evidence.speedups) and not any(high < 1 for _, high in evidence.speedups):
        return "speed"
    resident, full_resident = evidence.resident_bytes, evidence.full_resident_bytes
    if resident is not None and full_resident is not None and resident <= WORTHWHILE_SIZE * full_resident:
        return "memory"
    return "storage-only" if evidence.bytes <= WORTHWHILE_SIZE * evidence.full_bytes else "none-here"


def _rule(name: str, holds: bool, sentence: str) -> Rule:
    return Rule(name, "pass" if holds else "fail", f"{name}: {sentence}")


def _accuracy(evidence: Evidence, profile: Profile) -> Rule:
    right = evidence.full_right - evidence.b + evidence.c
    figures = f"{right / evidence.n:.4f} against {evidence.full_right / evidence.n:.4f} of the full version"
    return _rule(
        "accuracy", right >= profile.keep * evidence.full_right, f"{figures}, at least {float(profile.keep):.3f}x asked"
    )


def _non_inferior(evidence: Evidence, profile: Profile) -> Rule:
    margin = float(profile.margin * evidence.full_right / evidence.n)
    lower = statistics.bonett_price_lower(evidence.b, evidence.c, evidence.n)
    sentence = f"95 % lower bound of the difference {lower:+.5f}, at least {-margin:+.5f} asked"
    if lower >= -margin:
        return _rule("non-inferiority", True, sentence)
    shown_inferior = -statistics.bonett_price_lower(evidence.c, evidence.b, evidence.n) < -margin
    needed = statistics.needed_samples(evidence.b, evidence.c, evidence.n, margin) if margin else 0
    if shown_inferior or evidence.n >= needed:
        return _rule("non-inferiority", False, sentence)
    sentence += f"; {evidence.n} rows are too few to decide, about {needed} are needed"
    return Rule("non-inferiority", "insufficient-data", f"non-inferiority: {sentence}")


def _mcnemar(evidence: Evidence, profile: Profile) -> Rule:
    p = statistics.mcnemar_exact(evidence.b, evidence.c)
    worse = p < SIGNIFICANT and evidence.b > evidence.c
    sentence = f"b = {evidence.b}, c = {evidence.c}, p = {p:.4g}" + (", measurably worse" if worse else "")
    return _rule("exact McNemar", not (worse and profile.refuses_measurably_worse), sentence)


def _agreement(evidence: Evidence) -> Rule:
    share = Fraction(evidence.n - evidence.flips, evidence.n)
    return _rule("agreement", share >= LEAST_AGREEMENT, f"{float(share):.4f}, at least {float(LEAST_AGREEMENT)} asked")


def _bad_flips(evidence: Evidence) -> Rule:
    share = Fraction(evidence.b, evidence.n)
    return _rule("bad flips", share <= MOST_BAD_FLIPS, f"{float(share):.4f}, at most {float(MOST_BAD_FLIPS)} allowed")


def _recalls(evidence: Evidence) -> tuple[Rule, ...]:
    judged = [(at, one) for at, one in enumerate(evidence.classes) if one.support >= LEAST_CLASS_SAMPLES]
    return tuple(
        _rule(
            f"recall of class {at}",
            one.full_right - one.right <= MOST_RECALL_LOSS * one.support,
            f"falls by {(one.full_right - one.right) / one.support:.4f}, at most {float(MOST_RECALL_LOSS)} allowed",
        )
        for at, one in judged
    )


def _sound(evidence: Evidence) -> Rule:
    faults = [
        fault
        for fault, found in (
            (f"{evidence.non_finite_rows} rows with NaN or infinity", evidence.non_finite_rows > 0),
            ("inputs or outputs that differ from the full version's", not evidence.same_signature),
            ("answers that change from run to run", not evidence.deterministic),
        )
        if found
    ]
    return _rule("soundness", not faults, "; ".join(faults) or "finite, same signature, deterministic")


def _worthwhile(evidence: Evidence) -> Rule:
    size = evidence.bytes / evidence.full_bytes
    kind = gain_kind(evidence)
    holds = evidence.bytes <= WORTHWHILE_SIZE * evidence.full_bytes or kind == "speed"
    return _rule("worth it", holds, f"{size:.3f}x the size, gain here: {kind}")
