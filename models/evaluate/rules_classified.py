"""The gate's rules for classifiers, on discordant counts: each is exact where it can be.

Rule 1 is MLPerf's; rule 2 is by Bonett and Price's interval, and by a paired bootstrap for macro F1.
"""

from __future__ import annotations

from fractions import Fraction

from models.evaluate import statistics
from models.evaluate.evidence import Classified
from models.evaluate.rules import Profile, Rule, non_inferior, rule, undecided

LEAST_AGREEMENT = Fraction(98, 100)
MOST_BAD_FLIPS = Fraction(1, 100)
MOST_RECALL_LOSS = Fraction(3, 100)
LEAST_CLASS_SAMPLES = 100
SIGNIFICANT = 0.05


def rules(facts: Classified, profile: Profile) -> tuple[Rule, ...]:
    """Every rule about the answers, in order."""
    return (
        _accuracy(facts, profile),
        _non_inferior(facts, profile),
        *_macro_f1(facts, profile),
        _mcnemar(facts, profile),
        _agreement(facts),
        _bad_flips(facts),
        *_recalls(facts),
    )


def _accuracy(facts: Classified, profile: Profile) -> Rule:
    right = facts.full_right - facts.b + facts.c
    figures = f"{right / facts.n:.4f} against {facts.full_right / facts.n:.4f} of the full version"
    return rule("accuracy", right >= profile.keep * facts.full_right, f"{figures}, at least {_keep(profile)} asked")


def _keep(profile: Profile) -> str:
    return f"{float(profile.keep):.3f}x"


def _non_inferior(facts: Classified, profile: Profile) -> Rule:
    margin = float(profile.margin * facts.full_right / facts.n)
    lower = statistics.bonett_price_lower(facts.b, facts.c, facts.n)
    sentence = f"95 % lower bound of the difference {lower:+.5f}, at least {-margin:+.5f} asked"
    if lower >= -margin:
        return rule("non-inferiority", True, sentence)
    shown_inferior = -statistics.bonett_price_lower(facts.c, facts.b, facts.n) < -margin
    needed = statistics.needed_samples(facts.b, facts.c, facts.n, margin) if margin else 0
    if shown_inferior or facts.n >= needed:
        return rule("non-inferiority", False, sentence)
    few = f"{facts.n} rows are too few to decide, about {needed} are needed"
    return undecided("non-inferiority", f"{sentence}; {few}")


def _macro_f1(facts: Classified, profile: Profile) -> tuple[Rule, ...]:
    """None for a card without its bounds, and for a full version whose F1 is 0: accuracy then says it all."""
    if facts.macro_f1_bounds_95 is None or not facts.full_macro_f1:
        return ()
    margin = float(profile.margin) * facts.full_macro_f1
    lower = facts.macro_f1_bounds_95[0]
    figures = f"{facts.macro_f1:.4f} against {facts.full_macro_f1:.4f} of the full version"
    sentence = f"{figures}, 95 % lower bound of the difference {lower:+.5f}, at least {-margin:+.5f} asked"
    return (non_inferior("macro F1", sentence, n=facts.n, bounds_95=facts.macro_f1_bounds_95, margin=margin),)


def _mcnemar(facts: Classified, profile: Profile) -> Rule:
    p = statistics.mcnemar_exact(facts.b, facts.c)
    worse = p < SIGNIFICANT and facts.b > facts.c
    sentence = f"b = {facts.b}, c = {facts.c}, p = {p:.4g}" + (", measurably worse" if worse else "")
    return rule("exact McNemar", not (worse and profile.refuses_measurably_worse), sentence)


def _agreement(facts: Classified) -> Rule:
    share = Fraction(facts.n - facts.flips, facts.n)
    return rule("agreement", share >= LEAST_AGREEMENT, f"{float(share):.4f}, at least {float(LEAST_AGREEMENT)} asked")


def _bad_flips(facts: Classified) -> Rule:
    share = Fraction(facts.b, facts.n)
    return rule("bad flips", share <= MOST_BAD_FLIPS, f"{float(share):.4f}, at most {float(MOST_BAD_FLIPS)} allowed")


def _recalls(facts: Classified) -> tuple[Rule, ...]:
    judged = [(at, one) for at, one in enumerate(facts.classes) if one.support >= LEAST_CLASS_SAMPLES]
    return tuple(
        rule(
            f"recall of class {at}",
            one.full_right - one.right <= MOST_RECALL_LOSS * one.support,
            f"falls by {(one.full_right - one.right) / one.support:.4f}, at most {float(MOST_RECALL_LOSS)} allowed",
        )
        for at, one in judged
    )
