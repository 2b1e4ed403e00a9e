"""Evidence: what the gate reads of a variant, whatever its task. Taken from the parts of a card, and from no more.

So a card holds all that its verdict rests on, and whoever doubts the verdict can ask the gate again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from service.repository.card import Size
from service.repository.card_measures import Quality, Speed
from service.repository.card_tasks import (
    AnyQuality,
    EmbeddingPaired,
    EmbeddingQuality,
    RegressionPaired,
    RegressionQuality,
    UnlabelledPaired,
    UnlabelledQuality,
)


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class of the test set: its rows, and how many of them each version has right."""

    support: int
    full_right: int
    right: int


@dataclass(frozen=True, slots=True)
class Classified:
    """A classifier on the test set.

    Attributes:
        n: test rows.
        full_right: rows that the full version has right.
        b: rows that the full version has right and the variant wrong.
        c: the reverse.
        flips: rows on which the two give different classes.
        classes: in label order.
        full_macro_f1: of the full version; None where the card does not tell.
        macro_f1: of the variant.
        macro_f1_bounds_95: one-sided lower and upper bound of the variant's macro F1 less the full version's.
    """

    n: int
    full_right: int
    b: int
    c: int
    flips: int
    classes: tuple[ClassCount, ...] = ()
    full_macro_f1: float | None = None
    macro_f1: float = 0.0
    macro_f1_bounds_95: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Regressed:
    """A regression on the test set, as its card tells."""

    n: int
    rmse: float
    paired: RegressionPaired


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of the test set, as the card tells."""

    n: int
    label_recall: float | None
    paired: EmbeddingPaired


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """A variant on calibration rows, for want of a test set, as its card tells."""

    n: int
    paired: UnlabelledPaired


Facts: TypeAlias = Classified | Regressed | Embedded | Unlabelled


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a variant on one provider and CPU class.

    Attributes:
        facts: how good its answers are, by task.
        non_finite_rows: rows for which the variant gave a NaN or an infinity.
        same_signature: whether names, shapes and dtypes are the full version's.
        deterministic: whether a second run gave the same bytes.
        sensitivity: what batch-mates change (`models.evaluate.sensitivity`); None when there is no batch axis.
        full_bytes: size of the full version's file; `bytes` of the variant's, the coded one where it is published so.
        full_resident_bytes: what the full version adds to a process; `resident_bytes` the variant; None if unknown.
        speedups: lower and upper end of the interval of full time / variant time for each batch size; together they
            hold with 95 %.
    """

    facts: Facts
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
class Circumstances:
    """What is told of a variant beside its quality: see `Evidence`."""

    same_signature: bool
    sensitivity: float | None
    size: Size
    full_resident_bytes: int | None
    speed: Sequence[Speed]


def collect(entry: AnyQuality, around: Circumstances) -> Evidence:
    """Evidence of a variant, from an entry of its card's `quality`, which must be paired.

    Of the speeds, those count that were taken on the entry's provider and class of CPU.
    """
    size, here = around.size, (entry.provider, entry.cpu_class)
    return Evidence(
        facts=facts(entry),
        non_finite_rows=entry.non_finite_rows,
        same_signature=around.same_signature,
        deterministic=entry.deterministic,
        sensitivity=around.sensitivity,
        full_bytes=size.parent_file_bytes or size.file_bytes,
        bytes=size.file_bytes if size.coded_bytes is None else size.coded_bytes,
        full_resident_bytes=around.full_resident_bytes,
        resident_bytes=size.resident_bytes,
        speedups=tuple(
            interval
            for one in around.speed
            if (one.provider, one.cpu_class) == here
            and (interval := one.speedup_joint_interval_95 or one.speedup_interval_95) is not None
        ),
    )


def facts(entry: AnyQuality) -> Facts:
    """What an entry of a card's `quality` tells of a variant's answers.

    Raises:
        ValueError: it is of a full version.
    """
    match entry:
        case RegressionQuality(paired=RegressionPaired() as paired):
            return Regressed(entry.n, entry.rmse, paired)
        case EmbeddingQuality(paired=EmbeddingPaired() as paired):
            return Embedded(entry.n, entry.label_recall, paired)
        case UnlabelledQuality(paired=UnlabelledPaired() as paired):
            return Unlabelled(entry.n, paired)
        case Quality() if entry.paired is not None:
            return _classified(entry)
    raise ValueError("An entry of quality without `paired` is a full version's, which nobody judges.")


def _classified(entry: Quality) -> Classified:
    paired = entry.paired
    assert paired is not None  # noqa: S101 -- the caller's case
    classes = zip(entry.support_by_class, paired.full_recall_by_class, entry.recall_by_class, strict=True)
    lower, upper = paired.macro_f1_lower_95, paired.macro_f1_upper_95
    return Classified(
        n=entry.n,
        full_right=round(paired.full_accuracy * entry.n),
        b=paired.b,
        c=paired.c,
        flips=paired.flips,
        classes=tuple(ClassCount(n, round(full * n), round(own * n)) for n, full, own in classes),
        full_macro_f1=paired.full_macro_f1,
        macro_f1=entry.macro_f1,
        macro_f1_bounds_95=(lower, upper) if lower is not None and upper is not None else None,
    )
