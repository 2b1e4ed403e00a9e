"""Says in a sentence what a comparison found, and whether to ship the variant. Pure functions of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtests.measures.observed import Observed
from loadtests.measures.resampling import Figure
from loadtests.measures.summary import Summary, ratio_of

Difference = Literal["faster", "slower", "no difference"]

LEAST_AGREEMENT = 0.98
MOST_LAG_MS = 5.0
# Of each of the two intervals that a difference is read from, so that both hold at once in 95 of 100 runs.
CONFIDENCE = 0.975
# A ratio nearer to 1 is none that anybody ships a version for, however surely it was measured.
LEAST_DIFFERENCE = 0.02


@dataclass(frozen=True, slots=True)
class Versus:
    """A version held against the full one under the same traffic.

    Attributes:
        version: its label.
        full: the other's.
        p50: own p50 / the full version's; this interval and the next hold together in 95 of 100 runs.
        p99: own p99 / the full version's.
        rate: own knee / the full version's; None where none was looked for.
        agreement: share of rows on which both name the same class; None where that was not seen.
        difference: by the p50 and p99, each with its interval.
    """

    version: str
    full: str
    p50: Figure
    p99: Figure
    rate: Figure | None
    agreement: float | None
    difference: Difference


def versus(
    own: Sequence[Observed],
    full: Sequence[Observed],
    *,
    agreement: float | None,
    rate: Figure | None = None,
) -> Versus:
    """Both versions' blocks, by round."""
    p50, p99 = (ratio_of(own, full, percent, confidence=CONFIDENCE) for percent in (50.0, 99.0))
    return Versus(own[0].version, full[0].version, p50, p99, rate, agreement, _difference(p50, p99))


def _difference(p50: Figure, p99: Figure) -> Difference:
    """Slower in the median or in the tail outweighs the other: nobody ships a version for one of them alone."""
    shown = [one for one in (p50, p99) if one.excludes_one and abs(one.value - 1) >= LEAST_DIFFERENCE]
    if not shown:
        return "no difference"
    return "slower" if any(one.value > 1 for one in shown) else "faster"


def sentence(found: Versus, own: Summary, full: Summary) -> str:
    """What was found, and what follows."""
    parts = [
        f"{found.version} carries the same traffic at {times(found.p99)} the p99 and {times(found.p50)} the p50 of "
        f"{found.full}"
    ]
    if found.difference == "no difference":
        seen = f"(p50 {times(found.p50)}, p99 {times(found.p99)})"
        parts = [f"no difference in latency to {found.full} was shown for {found.version} {seen}"]
    if found.rate is not None:
        parts.append(f"holds {times(found.rate)} the rate")
    told = " and ".join(parts)
    agreement = "" if found.agreement is None else f"; agreement {found.agreement:.1%}"
    return f"{told}{agreement}; {advice(found, own, full)}"


def advice(found: Versus, own: Summary, full: Summary) -> str:
    """Whether to ship it, or why not."""
    if own.errors.get("wrong answer"):
        return f"do not ship it: {own.errors['wrong answer']} of its answers were wrong"
    failed, before = (sum(one.errors.values()) / max(one.requests, 1) for one in (own, full))
    if failed > before + 0.001:
        return f"do not ship it: {failed:.2%} of its requests failed, {before:.2%} of the full version's"
    if found.agreement is not None and found.agreement < LEAST_AGREEMENT:
        return f"do not ship it: an agreement of at least {LEAST_AGREEMENT:.0%} is asked"
    if found.difference == "slower":
        return "do not ship it for speed"
    if found.difference == "no difference":
        return "ship it only for its size"
    return "ship it"


def times(figure: Figure) -> str:
    """A ratio in words, with its interval."""
    if figure.interval is None:
        return f"{figure.value:.2f}x"
    return f"{figure.value:.2f}x [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
