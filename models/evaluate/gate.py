"""The gate: may this variant answer in place of its full version? Pure functions of what was measured.

Non-inferiority on paired test rows: a variant must be shown to be good enough; that nothing bad was shown does not
do. Knows nothing of how the evidence was measured, nor of files.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from models.evaluate import rules_classified, rules_others
from models.evaluate.evidence import Classified, Embedded, Evidence, Regressed
from models.evaluate.rules import PROFILES, Decision, Profile, ProfileName, Rule, rule
from models.evaluate.rules_classified import LEAST_CLASS_SAMPLES
from service.repository.card_measures import Verdict

__all__ = [
    "LEAST_CLASS_SAMPLES",
    "LEAST_SPEEDUP",
    "MOST_SENSITIVITY",
    "PROFILES",
    "Decision",
    "GainKind",
    "Profile",
    "ProfileName",
    "Rule",
    "gain_kind",
    "judge",
    "mixes",
]

GainKind = Literal["speed", "memory", "storage-only", "none-here"]

MOST_SENSITIVITY = 1e-3
WORTHWHILE_SIZE = Fraction(9, 10)
# Two sessions of one file differ for as long as they live, by where their memory lies: see docs/adr/0021.
LEAST_SPEEDUP = 1.05


def judge(evidence: Evidence, profile: Profile) -> Decision:
    """Applies every rule; one that fails makes the verdict "fail", else one that cannot decide makes it so."""
    rules = (*_answers(evidence, profile), _sound(evidence), *_batch_mates(evidence), _worthwhile(evidence))
    outcomes = {rule.outcome for rule in rules}
    verdicts: tuple[Verdict, ...] = ("fail", "insufficient-data", "pass")
    return Decision(next(v for v in verdicts if v in outcomes), rules)


def mixes(evidence: Evidence) -> bool:
    """Whether its requests may share a batch: a row's answer is the same within `MOST_SENSITIVITY` in any company."""
    return evidence.sensitivity is not None and evidence.sensitivity <= MOST_SENSITIVITY


def gain_kind(evidence: Evidence) -> GainKind:
    """What the variant gains on this machine: the most useful of the kinds that were measured.

    Speed: faster at some measured batch size and slower at none, each by an interval that lies beyond what two
    sessions of one file differ by (`LEAST_SPEEDUP`). The intervals hold together with 95 %, so that a variant that is
    equally fast is called faster once in 40 times at most, however many batch sizes are looked at.
    """
    faster = any(low > LEAST_SPEEDUP for low, _ in evidence.speedups)
    if faster and not any(high < 1 / LEAST_SPEEDUP for _, high in evidence.speedups):
        return "speed"
    if evidence.bytes > WORTHWHILE_SIZE * evidence.full_bytes:
        return "none-here"
    resident, full_resident = evidence.resident_bytes, evidence.full_resident_bytes
    if resident is not None and full_resident is not None and resident <= WORTHWHILE_SIZE * full_resident:
        return "memory"
    return "storage-only"


def _answers(evidence: Evidence, profile: Profile) -> tuple[Rule, ...]:
    match evidence.facts:
        case Classified() as facts:
            return rules_classified.rules(facts, profile)
        case Regressed() as facts:
            return rules_others.regressed(facts, profile)
        case Embedded() as facts:
            return rules_others.embedded(facts, profile)
        case facts:
            return rules_others.unlabelled(facts)


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
    return rule("soundness", not faults, "; ".join(faults) or "finite, same signature, deterministic")


def _batch_mates(evidence: Evidence) -> tuple[Rule, ...]:
    """No reason to refuse, whatever the size: its quality was measured alone, and alone its requests will run."""
    if evidence.sensitivity is None or mixes(evidence):
        return ()
    figures = f"an answer changes by {evidence.sensitivity:.3g} of the largest output with its batch-mates"
    said = f"{figures}, more than {MOST_SENSITIVITY:g}, so that it is served single-request-only"
    return (rule("batch-mates", True, said),)


def _worthwhile(evidence: Evidence) -> Rule:
    size = evidence.bytes / evidence.full_bytes
    kind = gain_kind(evidence)
    holds = kind != "none-here"
    sentence = f"{size:.3f}x the size, gain here: {kind}"
    asked = f", at most {float(WORTHWHILE_SIZE)}x or measurably faster asked"
    return rule("worth it", holds, sentence if holds else sentence + asked)
