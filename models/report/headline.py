"""The one figure by which a task's versions are compared first, with the interval of its difference to the full one."""

from __future__ import annotations

from dataclasses import dataclass

from service.repository.card import Card

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Headline:
    """The figure.

    Attributes:
        name: what it is.
        value: of this version.
        interval: 95 % interval around it from the paired difference to the full version; None for a full version.
        higher_is_better: whether more of it is better.
        agreement: share of rows on which the version gives what the full version gives; None where not measured.
    """

    name: str
    value: float
    interval: Interval | None = None
    higher_is_better: bool = True
    agreement: float | None = None


def headline(card: Card) -> Headline | None:
    """The headline of a version, from the first place that it was measured on; None where it was not."""
    if not card.quality:
        return None
    here = card.quality[0]
    paired = here.paired
    if paired is None:
        return Headline("accuracy", here.accuracy)
    low, high = (paired.full_accuracy + end for end in paired.delta_interval_95)
    return Headline("accuracy", here.accuracy, (low, min(1.0, high)), agreement=paired.agreement)
