"""What a classifier gets right, alone and held against its full version on the same rows.

Pure functions of logits and labels. A row with a NaN or an infinity has no class: it is wrong, and it agrees with
nothing. Statistics of the difference are `statistics`', the decision is `gate`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluate import bootstrap, statistics
from service.repository.card_measures import Paired

NO_CLASS = -1

Logits = NDArray[np.floating[Any]]
Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one classifier; per-class tuples are in label order, an absent class has recall 0.

    Attributes:
        macro_precision: mean over the classes that occur in the labels; so are macro_recall and macro_f1.
        non_finite_rows: rows with a NaN or an infinity among the logits.
    """

    n: int
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    support_by_class: tuple[int, ...]
    recall_by_class: tuple[float, ...]
    non_finite_rows: int


def by_class(logits: NDArray[Any]) -> Logits:
    """Logits as (n, classes): without axes of size 1 behind, and half precision widened.

    Raises:
        ValueError: another shape remains, or numbers that are no logits.
    """
    flat = logits.reshape(len(logits), -1) if logits.size == len(logits) * max(logits.shape[1:], default=1) else logits
    if flat.ndim != 2 or flat.shape[1] < 2 or flat.dtype.kind not in "fiuV":
        raise ValueError(
            f"An output of shape {logits.shape} and dtype {logits.dtype} is no classifier's: (n, classes) of numbers, "
            "one for each of at least two classes, was expected."
        )
    return flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float32)


def predicted(logits: Logits) -> Classes:
    """The class of each row, int64 (n,), of logits (n, classes); `NO_CLASS` where a logit is not finite."""
    finite = np.all(np.isfinite(logits), axis=1)
    return np.where(finite, np.argmax(np.nan_to_num(logits), axis=1), NO_CLASS).astype(np.int64)


def score(logits: Logits, labels: Classes) -> Scores:
    """Scores of logits (n, classes) against labels (n,), n > 0.

    Raises:
        ValueError: they do not fit together.
    """
    _fit(logits, labels)
    classes = logits.shape[1]
    guesses = predicted(logits)
    hits = np.bincount(labels[guesses == labels], minlength=classes)
    support = np.bincount(labels, minlength=classes)
    guessed = np.bincount(guesses[guesses != NO_CLASS], minlength=classes)
    recall, precision = _ratio(hits, support), _ratio(hits, guessed)
    f1 = _ratio(2 * hits, support + guessed)
    there = support > 0
    return Scores(
        n=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        macro_precision=float(precision[there].mean()),
        macro_recall=float(recall[there].mean()),
        macro_f1=float(f1[there].mean()),
        support_by_class=tuple(support.tolist()),
        recall_by_class=tuple(recall.tolist()),
        non_finite_rows=int((guesses == NO_CLASS).sum()),
    )


def compare(full: Logits, variant: Logits, labels: Classes) -> Paired:
    """The variant held against its full version; both logits are (n, classes) of the same rows, labels (n,).

    `mean_kl` and `max_abs_dp` are over the rows that are finite in both, 0 if there are none, to six digits.
    """
    ours, theirs = predicted(variant), predicted(full)
    n = len(labels)
    b = int(((theirs == labels) & (ours != labels)).sum())
    c = int(((theirs != labels) & (ours == labels)).sum())
    flips = int(((ours != theirs) | (ours == NO_CLASS)).sum())
    finite = (ours != NO_CLASS) & (theirs != NO_CLASS)
    mean_kl, max_abs_dp = _divergence(full[finite], variant[finite])
    of_full = score(full, labels)
    of_f1 = bootstrap.bounds(macro_f1_differences(theirs, ours, labels, full.shape[1]))
    return Paired(
        full_accuracy=of_full.accuracy,
        full_recall_by_class=of_full.recall_by_class,
        b=b,
        c=c,
        delta=(c - b) / n,
        delta_interval_95=statistics.bonett_price_interval(b, c, n),
        delta_lower_95=statistics.bonett_price_lower(b, c, n),
        mcnemar_p=statistics.mcnemar_exact(b, c),
        agreement=(n - flips) / n,
        flips=flips,
        mean_kl=_six_digits(mean_kl),
        max_abs_dp=_six_digits(max_abs_dp),
        full_macro_f1=of_full.macro_f1,
        macro_f1_lower_95=of_f1.lower_95,
        macro_f1_upper_95=of_f1.upper_95,
    )


def macro_f1_differences(full: Classes, variant: Classes, labels: Classes, classes: int) -> NDArray[np.float64]:
    """Macro F1 of the variant less the full version's, on every resample of the rows: (resamples,).

    Rows with the same label and the same two guesses are one cell; what is drawn is how many rows each cell gets.
    Macro means are over the classes that occur in the resample.

    Args:
        full: classes that the full version guesses, (n,); `NO_CLASS` is none.
        variant: likewise.
        labels: (n,).
        classes: how many there are.
    """
    cells, counts = np.unique(np.stack([labels, full, variant], axis=1), axis=0, return_counts=True)
    parts = []
    for drawn in bootstrap.drawn_counts(counts, width=classes):
        support = _by_class(drawn, cells[:, 0], classes)
        of_full, of_variant = (_macro_f1(drawn, cells[:, 0], guess, support) for guess in (cells[:, 1], cells[:, 2]))
        parts.append(of_variant - of_full)
    return np.concatenate(parts)


def _macro_f1(
    drawn: NDArray[np.int64], label: Classes, guess: Classes, support: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of each resample, (resamples,)."""
    classes, right = support.shape[1], label == guess
    hits = _by_class(drawn[:, right], label[right], classes)
    f1 = _ratio(2 * hits, support + _by_class(drawn, guess, classes))
    return np.asarray(f1.sum(axis=1) / (support > 0).sum(axis=1))


def _by_class(drawn: NDArray[np.int64], classes: Classes, of: int) -> NDArray[np.float64]:
    """Rows drawn of each class, (resamples, of), of `drawn` (resamples, cells) and a class each cell; none is left out.

    By sums over runs of equal classes: a product with their one-hot form takes `of` times as long.
    """
    found = np.zeros((len(drawn), of))
    order = np.argsort(classes, kind="stable")
    order = order[classes[order] != NO_CLASS]
    if len(order):
        starts = np.flatnonzero(np.diff(classes[order], prepend=NO_CLASS))
        found[:, classes[order][starts]] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return found


def _fit(logits: Logits, labels: Classes) -> None:
    if len(labels) != len(logits) or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"{len(labels)} labels from {labels.min()} to {labels.max()} do not fit {len(logits)} rows of logits "
            f"for {logits.shape[1]} classes."
        )


def _divergence(full: Logits, variant: Logits) -> tuple[float, float]:
    if not len(full):
        return 0.0, 0.0
    log_p, log_q = _log_softmax(full), _log_softmax(variant)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    return max(0.0, float(kl.mean())), float(np.abs(np.exp(log_p) - np.exp(log_q)).max())


def _log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0))


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
