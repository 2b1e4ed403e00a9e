"""The one figure by which a task's versions are compared first, with the interval of its difference to the full one.

Where a full version has nothing but itself to be held against, its figure is the best there is: it agrees with itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.repository.card import Card
from service.repository.card_measures import Quality
from service.repository.card_tasks import AnyQuality, EmbeddingQuality, RegressionQuality, UnlabelledQuality

Interval = tuple[float, float]

ACCURACY = "accuracy"
ERROR = "RMSE"
LABEL_RECALL = "recall@1"
NEIGHBOURS = "neighbours kept"
AGREEMENT = "agreement on calibration rows"
COSINE = "cosine on calibration rows"


@dataclass(frozen=True, slots=True)
class Headline:
    """The figure.

    Attributes:
        name: what it is.
        value: of this version.
        interval: 95 % interval around it from the paired difference to the full version; None for a full version, and
            where the card gives one-sided bounds only.
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
    return _of(card.quality[0]) if card.quality else None


def _of(here: AnyQuality) -> Headline:
    match here:
        case Quality():
            return _classified(here)
        case RegressionQuality(paired=None):
            return Headline(ERROR, here.rmse, higher_is_better=False)
        case RegressionQuality(paired=paired):
            low, high = (paired.full_rmse * ratio for ratio in paired.error_ratio_interval_95)
            return Headline(ERROR, here.rmse, (low, high), higher_is_better=False)
        case EmbeddingQuality():
            return _embedded(here)
        case UnlabelledQuality():
            return _unlabelled(here)


def _classified(here: Quality) -> Headline:
    if here.paired is None:
        return Headline(ACCURACY, here.accuracy)
    low, high = (here.paired.full_accuracy + end for end in here.paired.delta_interval_95)
    return Headline(ACCURACY, here.accuracy, (max(0.0, low), min(1.0, high)), agreement=here.agreement)


def _embedded(here: EmbeddingQuality) -> Headline:
    if here.label_recall is not None:
        return Headline(LABEL_RECALL, here.label_recall, agreement=here.agreement)
    kept = 1.0 if here.paired is None else here.paired.neighbour_recall
    return Headline(NEIGHBOURS, kept, agreement=here.agreement)


def _unlabelled(here: UnlabelledQuality) -> Headline:
    name = AGREEMENT if here.of == "classification" else COSINE
    if here.paired is None:
        return Headline(name, 1.0)
    return Headline(
        name, here.paired.cosine_p01 if here.agreement is None else here.agreement, agreement=here.agreement
    )
