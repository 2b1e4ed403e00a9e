"""How well embeddings keep their neighbours, alone and held against the full version's of the same rows.

Pure functions of vectors (n, ...), flattened to one vector a row, compared by cosine. A row with a number that is not
finite is taken as zeros there: its cosine is 0 to everything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.evaluate import bootstrap
from models.evaluate.regression import Answers, Floats, finite
from service.repository.card_tasks import EmbeddingPaired

_BLOCK_ROWS = 512

Rows = NDArray[np.int64]


def nearest(vectors: Answers) -> Rows:
    """The nearest other row of each row, int64 (n,), n > 1; the first of several that are equally near."""
    unit = _unit(vectors)
    found = [_nearest_of(unit, start) for start in range(0, len(unit), _BLOCK_ROWS)]
    return np.concatenate(found)


def cosines(full: Answers, variant: Answers) -> Floats:
    """Cosine of the two vectors of each row, (n,), in -1..1."""
    return np.asarray(np.clip((_unit(full) * _unit(variant)).sum(axis=1), -1, 1))


def label_recall(vectors: Answers, labels: Rows) -> float:
    """Share of rows whose nearest other row has their label."""
    return float(_right(vectors, labels).mean())


def compare(full: Answers, variant: Answers, labels: Rows | None) -> EmbeddingPaired:
    """The variant held against its full version; labels (n,) if there are any.

    Raises:
        ValueError: one row only, which has no neighbour, or vectors of other shapes.
    """
    if len(full) < 2 or full.shape != variant.shape:
        raise ValueError(f"Embeddings of shapes {full.shape} and {variant.shape} cannot be compared.")
    angles = cosines(full, variant)
    same = nearest(full) == nearest(variant)
    kept = bootstrap.bounds(_drawn_shares(same.astype(np.int64), np.array([0, 1])))
    figures: dict[str, float] = {}
    if labels is not None:
        theirs, ours = (_right(one, labels).astype(np.int64) for one in (full, variant))
        won = bootstrap.bounds(_drawn_shares(ours - theirs, np.array([-1, 0, 1])))
        figures = {
            "full_label_recall": float(theirs.mean()),
            "label_recall_delta": float((ours - theirs).mean()),
            "label_recall_lower_95": won.lower_95,
            "label_recall_upper_95": won.upper_95,
        }
    return EmbeddingPaired(
        cosine_mean=float(angles.mean()),
        cosine_p01=float(np.quantile(angles, 0.01)),
        neighbour_recall=float(same.mean()),
        neighbour_recall_lower_95=kept.lower_95,
        neighbour_recall_upper_95=kept.upper_95,
        **figures,
    )


def _drawn_shares(outcomes: Rows, values: Rows) -> Floats:
    """Means of outcomes (n,), each one of `values`, on every resample: (resamples,)."""
    counts = np.array([(outcomes == value).sum() for value in values])
    return np.asarray(bootstrap.resampled_counts(counts) @ values / len(outcomes))


def _right(vectors: Answers, labels: Rows) -> NDArray[np.bool_]:
    return np.asarray(labels[nearest(vectors)] == labels)


def _nearest_of(unit: Floats, start: int) -> Rows:
    near = unit[start : start + _BLOCK_ROWS] @ unit.T
    own = np.arange(len(near))
    near[own, start + own] = -np.inf
    return np.asarray(near.argmax(axis=1))


def _unit(vectors: Answers) -> Floats:
    flat = vectors.reshape(len(vectors), -1)
    sound = np.isfinite(flat).all(axis=1, keepdims=True)
    whole = np.where(sound, finite(flat), 0.0)
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    return np.asarray(np.divide(whole, norms, out=np.zeros_like(whole), where=norms > 0))
