"""What the gate's rules are made of: a profile, a rule with its outcome and sentence, a decision.

Non-inferiority by bounds is here too, as every task decides it the same way: shown good enough passes, shown worse
fails, and between the two it depends on whether more rows could still have shown it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist
from typing import Literal

from models.evaluate.bootstrap import LEAST_ROWS
from models.evaluate.statistics import POWER
from service.repository.card_measures import Verdict

# Of differences of shares, in double precision.
_ROUNDING = 1e-12

ProfileName = Literal["default", "strict"]


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


def rule(name: str, holds: bool, sentence: str) -> Rule:
    """A rule that holds or does not."""
    return Rule(name, "pass" if holds else "fail", f"{name}: {sentence}")


def undecided(name: str, sentence: str) -> Rule:
    """A rule that the data cannot decide."""
    return Rule(name, "insufficient-data", f"{name}: {sentence}")


def non_inferior(
    name: str, sentence: str, *, n: int, bounds_95: tuple[float, float], margin: float, expected: float = 0.0
) -> Rule:
    """Whether a difference, variant less full and larger is better, is shown to be no less than `-margin`.

    Args:
        name: of the rule.
        sentence: figure and limit.
        n: rows that were bootstrapped.
        bounds_95: one-sided lower and upper 95 % bound of the difference.
        margin: > 0, in the same unit.
        expected: the difference that more rows would be asked to show: none, unless even a good variant has one.
    """
    lower, upper = bounds_95
    if upper < -margin:
        return rule(name, False, sentence)
    if n < LEAST_ROWS:
        return undecided(name, f"{sentence}; {n} rows are too few for a bootstrap, at least {LEAST_ROWS} are needed")
    if lower >= -margin - _ROUNDING:
        return rule(name, True, sentence)
    if margin + expected <= 0 or n >= (needed := _needed_rows(n, upper - lower, margin + expected)):
        return rule(name, False, sentence)
    return undecided(name, f"{sentence}; {n} rows are too few to decide, about {needed} are needed")


def _needed_rows(n: int, spread: float, margin: float) -> int:
    """Rows it takes to show, 4 times in 5, that two equally good versions differ by less than `margin`.

    `spread` is the distance of the two one-sided 95 % bounds at n rows; it shrinks with the root of the rows.
    """
    z, z_power = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(POWER)
    return math.ceil(n * (spread / (2 * z) * (z + z_power) / margin) ** 2)
