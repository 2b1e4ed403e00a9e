"""One entry of a card's `quality`, whatever the task: from a version's answers, its full version's, and the samples.

A variant's entry is made with the verdict "insufficient-data", which holds until the gate has spoken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.samples import Samples
from models.evaluate import embedding, quality, regression
from models.evaluate.measure import Answers, Bench
from service.repository.card_measures import Quality
from service.repository.card_tasks import (
    AnyQuality,
    EmbeddingQuality,
    RegressionQuality,
    Task,
    UnlabelledPaired,
    UnlabelledQuality,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a version: rows with the task, and whether they are a test set or only calibration rows."""

    task: Task
    samples: Samples
    is_test: bool = True


def entry(own: Answers, asked: Asked, bench: Bench, full: Answers | None = None) -> AnyQuality:
    """The entry of a version, paired with its full version's answers if it is a variant.

    Raises:
        ValueError: the answers do not fit the labels or targets, or these are missing.
    """
    common = {
        "provider": bench.provider,
        "cpu_class": bench.cpu_class,
        "n": len(own.logits),
        "non_finite_rows": own.non_finite_rows,
        "deterministic": own.deterministic,
        "verdict": None if full is None else "insufficient-data",
    }
    if full is not None and full.logits.shape != own.logits.shape:
        own = Answers(np.full(full.logits.shape, np.nan), own.deterministic, own.non_finite_rows)
    theirs = None if full is None else full.logits
    make: dict[Task, Callable[..., AnyQuality]] = {
        "classification": _classified,
        "regression": _regressed,
        "embedding": _embedded,
    }
    chosen = make[asked.task] if asked.is_test else _unlabelled
    return chosen(own.logits, theirs, asked, common)


def _classified(own: NDArray[Any], full: NDArray[Any] | None, asked: Asked, common: dict[str, Any]) -> Quality:
    labels = asked.samples.labels
    if not asked.samples.labelled:
        raise ValueError("A classifier is measured by labels, and this test set has none.")
    own = quality.by_class(own)
    scores = quality.score(own, labels)
    return Quality(
        **common,
        accuracy=scores.accuracy,
        macro_precision=scores.macro_precision,
        macro_recall=scores.macro_recall,
        macro_f1=scores.macro_f1,
        support_by_class=scores.support_by_class,
        recall_by_class=scores.recall_by_class,
        paired=None if full is None else quality.compare(quality.by_class(full), own, labels),
    )


def _regressed(own: NDArray[Any], full: NDArray[Any] | None, asked: Asked, common: dict[str, Any]) -> RegressionQuality:
    targets = asked.samples.targets
    if targets is None:
        raise ValueError("A regression is measured by targets, and this test set has none.")
    scores = regression.score(own, targets)
    paired = None if full is None else regression.compare(full, own, targets)
    return RegressionQuality(**common, rmse=scores.rmse, mae=scores.mae, r2=scores.r2, paired=paired)


def _embedded(own: NDArray[Any], full: NDArray[Any] | None, asked: Asked, common: dict[str, Any]) -> EmbeddingQuality:
    labels = asked.samples.labels if asked.samples.labelled else None
    recall = None if labels is None else embedding.label_recall(own, labels)
    paired = None if full is None else embedding.compare(full, own, labels)
    return EmbeddingQuality(**common, label_recall=recall, paired=paired)


def _unlabelled(
    own: NDArray[Any], full: NDArray[Any] | None, asked: Asked, common: dict[str, Any]
) -> UnlabelledQuality:
    return UnlabelledQuality(**common, of=asked.task, paired=None if full is None else _seen(full, own, asked.task))


def _seen(full: NDArray[Any], own: NDArray[Any], task: Task) -> UnlabelledPaired:
    agreement = None
    if task == "classification":
        ours, theirs = (quality.predicted(quality.by_class(one)) for one in (own, full))
        agreement = float(((ours == theirs) & (ours != quality.NO_CLASS)).mean())
    return UnlabelledPaired(
        top1_agreement=agreement,
        relative_l2=regression.relative_l2(full, own),
        cosine_p01=float(np.quantile(embedding.cosines(full, own), 0.01)),
    )
