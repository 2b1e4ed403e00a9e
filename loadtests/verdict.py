"""Says of two versions under the same traffic which one is faster, if any. Pure functions of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtests.measures.agreement import Agreement
from loadtests.measures.observed import Observed
from loadtests.measures.paired import ratio_of
from loadtests.measures.resampling import Figure

Difference = Literal["faster", "slower", "no difference"]
Held = Literal["more", "less", "no difference", "unknown"]

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
        p99: own p99 / the full version's; None where too few answers lie beyond it for one to mean anything.
        rate: own knee / the full version's; None where none was looked for.
        agreement: on the class of a row; None where that was not seen, or where there are no classes.
        difference: by the p50 and p99, each with its interval.
    """

    version: str
    full: str
    p50: Figure
    p99: Figure | None
    rate: Figure | None
    agreement: Agreement | None
    difference: Difference

    @property
    def held(self) -> Held:
        """Whether it holds more requests a second within the objective, or less, by the interval."""
        if self.rate is None or self.rate.interval is None:
            return "unknown"
        if not _shown(self.rate):
            return "no difference"
        return "more" if self.rate.value > 1 else "less"


def versus(
    own: Sequence[Observed],
    full: Sequence[Observed],
    *,
    agreement: Agreement | None,
    rate: Figure | None = None,
) -> Versus:
    """Both versions' blocks, by round."""
    p50, p99 = ratio_of(own, full, 50.0, confidence=CONFIDENCE), _tail(own, full)
    return Versus(own[0].version, full[0].version, p50, p99, rate, agreement, _difference(p50, p99))


def _tail(own: Sequence[Observed], full: Sequence[Observed]) -> Figure | None:
    found = ratio_of(own, full, 99.0, confidence=CONFIDENCE)
    return None if found.interval is None else found


def _difference(p50: Figure, p99: Figure | None) -> Difference:
    """Slower in the median or in the tail outweighs the other: nobody ships a version for one of them alone."""
    shown = [one for one in (p50, p99) if one is not None and _shown(one)]
    if not shown:
        return "no difference"
    return "slower" if any(one.value > 1 for one in shown) else "faster"


def _shown(ratio: Figure) -> bool:
    return ratio.excludes_one and abs(ratio.value - 1) >= LEAST_DIFFERENCE


def times(figure: Figure, of: str = "") -> str:
    """A ratio in words, with its interval: 0.43x the p99 [0.40, 0.47]."""
    said = f"{figure.value:.2f}x{f' {of}' if of else ''}"
    return said if figure.interval is None else f"{said} [{figure.interval[0]:.2f}, {figure.interval[1]:.2f}]"
