"""How far a regression's answers lie from their targets, alone and held against its full version on the same rows.

Pure functions of answers and targets, (n, ...) of one shape. A number that is not finite counts as 0, so that every
figure is one; the gate refuses it on its own account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluate import bootstrap
from service.repository.card_tasks import RegressionPaired

MOST_RATIO = 1e6

Answers = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Root mean squared error, mean absolute error, coefficient of determination (None for constant targets)."""

    rmse: float
    mae: float
    r2: float | None


def score(answers: Answers, targets: Answers) -> Scores:
    """Scores of answers against targets, n > 0.

    Raises:
        ValueError: their shapes differ in more than axes of size 1.
    """
    error = _errors(answers, targets)
    targets = targets.astype(np.float64).reshape(error.shape)
    variation = float(((targets - targets.mean(axis=0)) ** 2).sum())
    return Scores(
        rmse=float(np.sqrt((error**2).mean())),
        mae=float(np.abs(error).mean()),
        r2=1 - float((error**2).sum()) / variation if variation > 0 else None,
    )


def compare(full: Answers, variant: Answers, targets: Answers) -> RegressionPaired:
    """The variant held against its full version; bounds of the error ratio by a paired bootstrap over the rows."""
    squares = np.stack([(_errors(one, targets) ** 2).mean(axis=1) for one in (variant, full)], axis=1)
    ratio = _ratio(squares.mean(axis=0)[None])[0]
    bounds = bootstrap.bounds(_ratio(bootstrap.resampled_means(squares)))
    of_full = score(full, targets)
    return RegressionPaired(
        full_rmse=of_full.rmse,
        full_mae=of_full.mae,
        error_ratio=float(ratio),
        error_ratio_interval_95=bounds.interval_95,
        error_ratio_lower_95=bounds.lower_95,
        error_ratio_upper_95=bounds.upper_95,
        relative_l2=relative_l2(full, variant),
    )


def relative_l2(full: Answers, variant: Answers) -> float:
    """Norm of the difference of two versions' answers / norm of the full version's; at most `MOST_RATIO`."""
    ours, theirs = finite(variant), finite(full)
    scale, distance = float(np.linalg.norm(theirs)), float(np.linalg.norm(ours - theirs))
    return min(MOST_RATIO, distance / scale) if scale else (MOST_RATIO if distance else 0.0)


def finite(answers: Answers) -> Floats:
    """As float64, with 0 for what is not finite."""
    return np.nan_to_num(answers.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _errors(answers: Answers, targets: Answers) -> Floats:
    """(n, numbers a row)."""
    if len(answers) != len(targets) or answers.size != targets.size:
        raise ValueError(f"Answers of shape {answers.shape} do not fit targets of shape {targets.shape}.")
    return (finite(answers).reshape(len(answers), -1) - targets.astype(np.float64).reshape(len(targets), -1)).astype(
        np.float64
    )


def _ratio(mean_squares: Floats) -> Floats:
    """Variant's root mean squared error / full version's, of (k, 2); two that never err are equal."""
    own, full = np.sqrt(mean_squares[:, 0]), np.sqrt(mean_squares[:, 1])
    ratios = np.divide(own, full, out=np.where(own > 0, MOST_RATIO, 1.0), where=full > 0)
    return np.minimum(ratios, MOST_RATIO)
