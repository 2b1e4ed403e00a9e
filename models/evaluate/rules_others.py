"""The gate's rules for regressions, for embeddings, and for variants that came without a test set.

What a classifier's accuracy is for it, a regression's root mean squared error is, and an embedding's recall@1 of
nearest neighbours; bounds come from paired bootstraps over the test rows.
"""

from __future__ import annotations

from fractions import Fraction

from models.evaluate.evidence import Embedded, Regressed, Unlabelled
from models.evaluate.rules import Profile, Rule, non_inferior, rule, undecided

LEAST_COSINE = 0.99
# Without labels the full version's own neighbours are the truth, and rule 4 says how many may move.
LEAST_NEIGHBOURS = Fraction(98, 100)


def regressed(facts: Regressed, profile: Profile) -> tuple[Rule, ...]:
    """The error may grow by as much as accuracy might fall: to 1 / keep times the full version's."""
    paired, most = facts.paired, float(1 / profile.keep)
    figures = f"root mean squared error {facts.rmse:.5g} against {paired.full_rmse:.5g} of the full version"
    bound = f"95 % upper bound of the error ratio {paired.error_ratio_upper_95:.5f}, at most {most:.5f} allowed"
    low, high = paired.error_ratio_interval_95
    worse = low > 1
    said = f"95 % interval of the error ratio {low:.5f} to {high:.5f}" + (", measurably worse" if worse else "")
    return (
        rule("error", paired.error_ratio <= most, f"{figures}, at most {most:.4f}x allowed"),
        non_inferior(
            "non-inferiority",
            bound,
            n=facts.n,
            bounds_95=(1 - paired.error_ratio_upper_95, 1 - paired.error_ratio_lower_95),
            margin=most - 1,
        ),
        rule("measurably worse", not (worse and profile.refuses_measurably_worse), said),
    )


def embedded(facts: Embedded, profile: Profile) -> tuple[Rule, ...]:
    """The 1st percentile of the cosine; then recall@1 by labels where there are some, else by the full version."""
    cosine = facts.paired.cosine_p01
    sentence = f"1st percentile {cosine:.5f} to the full version's vectors, at least {LEAST_COSINE} asked"
    neighbours = _by_labels(facts, profile) if facts.label_recall is not None else _by_neighbours(facts)
    return (rule("cosine", cosine >= LEAST_COSINE, sentence), *neighbours)


def _by_labels(facts: Embedded, profile: Profile) -> tuple[Rule, ...]:
    paired, own = facts.paired, facts.label_recall or 0.0
    full = paired.full_label_recall or 0.0
    margin = float(profile.margin) * full
    lower, upper = paired.label_recall_lower_95 or 0.0, paired.label_recall_upper_95 or 0.0
    return (
        rule(
            "recall@1",
            own >= float(profile.keep) * full,
            f"{own:.4f} against {full:.4f} of the full version, at least {float(profile.keep):.3f}x asked",
        ),
        non_inferior(
            "non-inferiority",
            f"95 % lower bound of the difference of recall@1 {lower:+.5f}, at least {-margin:+.5f} asked",
            n=facts.n,
            bounds_95=(lower, upper),
            margin=margin,
        ),
        rule(
            "measurably worse",
            not (upper < 0 and profile.refuses_measurably_worse),
            f"95 % upper bound of the difference {upper:+.5f}" + (", measurably worse" if upper < 0 else ""),
        ),
    )


def _by_neighbours(facts: Embedded) -> tuple[Rule, ...]:
    paired, least = facts.paired, float(LEAST_NEIGHBOURS)
    bounds = (paired.neighbour_recall_lower_95 - 1, paired.neighbour_recall_upper_95 - 1)
    return (
        rule(
            "recall@1",
            paired.neighbour_recall >= least,
            f"{paired.neighbour_recall:.4f} of the rows keep the nearest neighbour that the full version gives them, "
            f"at least {least} asked",
        ),
        non_inferior(
            "non-inferiority",
            f"95 % lower bound of that share {paired.neighbour_recall_lower_95:.5f}, at least {least} asked",
            n=facts.n,
            bounds_95=bounds,
            margin=float(1 - LEAST_NEIGHBOURS),
            expected=paired.neighbour_recall - 1,
        ),
    )


def unlabelled(facts: Unlabelled) -> tuple[Rule, ...]:
    """Nothing was shown, whatever was seen: answers on calibration rows are no proof, and they are no test set."""
    paired = facts.paired
    seen = f"relative L2 {paired.relative_l2:.4g}"
    if paired.top1_agreement is not None:
        seen = f"the same class on {paired.top1_agreement:.4f}, {seen}"
    return (
        undecided(
            "test set",
            f"none was given, so nothing shows that the answers are good enough; on {facts.n} calibration rows it "
            f"gives {seen} against the full version",
        ),
    )
