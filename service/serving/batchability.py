"""May rows of different requests share a run? Found by running them, alone and together, when a version is loaded.

A symbolic first axis need not be a batch, and a dynamically quantised model scales each row by its batch-mates.
The card and this probe both bind; the stricter wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.core.contract import Array
from service.core.errors import RetortError, Unavailable
from service.repository.card import Card
from service.serving.rows import DISTINCT_ROWS, Run, TrialRows

FLOAT_TOLERANCE = 1e-5
QUANTISED_TOLERANCE = 1e-3
_ROW_FLOOR = 1e-3  # a row's own scale counts down to this share of the largest row's


@dataclass(frozen=True, slots=True)
class Batchability:
    """How requests of one version may be put together.

    Attributes:
        mode: "any", or "single-request-only": never mixed, never split.
        reason: why single-request-only, else "".
        sensitivity: largest change of a row's answer between alone and in a batch, relative to the row's largest
            output; None where it was not measured.
    """

    mode: str
    reason: str = ""
    sensitivity: float | None = None

    @property
    def mixes(self) -> bool:
        """Whether requests may share a run."""
        return self.mode == "any"


def single(reason: str, sensitivity: float | None = None) -> Batchability:
    """The verdict that requests of this version are never mixed or split."""
    return Batchability("single-request-only", reason, sensitivity)


def card_binds(card: Card | None, probed: Batchability) -> Batchability:
    """The stricter of what the card says and what the probe found."""
    if card is None or card.batching is None or card.batching.mode == "any" or not probed.mixes:
        return probed
    return single(card.batching.reason or "its card says so", probed.sensitivity)


def stricter(one: Batchability, other: Batchability) -> Batchability:
    """That of the two which allows less; of two that allow the same, the more sensitive."""
    if one.mixes is not other.mixes:
        return other if one.mixes else one
    return max(one, other, key=lambda found: found.sensitivity or 0.0)


def probe(run: Run, rows: TrialRows, max_rows: int, *, quantised: bool) -> Batchability:
    """Runs a few rows alone, then in several sizes and positions.

    Args:
        run: one run of the version.
        rows: what to run; must have a batch axis.
        max_rows: the largest batch that will be formed.
        quantised: whether the graph computes in integers, or answers in half precision.

    Raises:
        Unavailable: a run ended for no reason of its rows.
    """
    count = min(rows.rows or 0, DISTINCT_ROWS)
    alone = [run(rows.take([index])) for index in range(count)]
    worst = 0.0
    for indices in _arrangements(count, max_rows):
        try:
            together = run(rows.take(indices))
            worst = max(worst, _largest_change(alone, together, indices))
        except Unavailable:  # says nothing about the rows
            raise
        except (RetortError, _NotABatch) as error:
            return single(f"a batch of {len(indices)} rows does not run as its rows do alone: {error}")
    tolerance = QUANTISED_TOLERANCE if quantised else FLOAT_TOLERANCE
    if worst > tolerance:
        return single(
            f"a row's answer changed by {worst:.2g} of its largest output beside other rows, "
            f"more than the {tolerance:g} that batching allows",
            worst,
        )
    return Batchability("any", sensitivity=worst)


class _NotABatch(Exception):
    """An output does not have one row for each row of the input."""


def _arrangements(count: int, max_rows: int) -> list[list[int]]:
    """Rows in order, in reverse and rotated, at the sizes 2, 3, `count` and `max_rows` as far as they fit."""
    sizes = sorted({size for size in (2, 3, count, max_rows) if 1 < size <= max_rows})
    forward = [[index % count for index in range(size)] for size in sizes]
    backward = [[(size - 1 - index) % count for index in range(size)] for size in sizes[:-1]]
    return forward + backward


def _largest_change(alone: Sequence[dict[str, Array]], together: dict[str, Array], indices: Sequence[int]) -> float:
    worst = 0.0
    for name, batch in together.items():
        if batch.ndim == 0 or batch.shape[0] != len(indices):
            raise _NotABatch(f"output '{name}' has shape {list(batch.shape)[:8]}")
        singles = [answer[name] for answer in alone]
        if any(one.shape[0] != 1 or one.shape[1:] != batch.shape[1:] for one in singles):
            raise _NotABatch(f"output '{name}' has another shape than alone")
        expected = np.concatenate([singles[index] for index in indices])
        worst = max(worst, relative_change(expected, batch))
    return worst


def relative_change(expected: Array, found: Array) -> float:
    """Largest |difference| relative to each row's largest |value|; infinite where exact values differ."""
    if not np.issubdtype(expected.dtype, np.floating):
        return 0.0 if np.array_equal(expected, found) else np.inf
    if expected.size == 0:
        return 0.0
    wide, got = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(finite, np.isfinite(got)):
        return np.inf
    wide, got = np.where(finite, wide, 0.0), np.where(finite, got, 0.0)
    per_row = np.abs(wide).reshape(len(wide), -1).max(axis=1)
    scale = np.maximum(np.maximum(per_row, _ROW_FLOOR * per_row.max()), np.finfo(np.float32).tiny)
    change = np.abs(wide - got).reshape(len(wide), -1).max(axis=1)
    return float((change / scale).max())
