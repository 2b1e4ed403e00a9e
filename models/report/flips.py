"""The inputs on which a variant and its full version give different classes, the worst first.

Both are run on the test set through the runner that serves. Reading a test set here decides nothing: no figure of a
card comes from this page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.data.samples import Samples
from models.evaluate.quality import NO_CLASS, Logits, predicted


@dataclass(frozen=True, slots=True)
class Opinion:
    """One version's answer to one input: its class, and the probability that it gives it (softmax of its logits)."""

    predicted: int
    probability: float


@dataclass(frozen=True, slots=True)
class Flip:
    """An input that flips.

    Attributes:
        row: its place in the test set.
        label: its class.
        full: the full version's answer.
        variant: the variant's.
    """

    row: int
    label: int
    full: Opinion
    variant: Opinion

    @property
    def kind(self) -> str:
        """What the flip means."""
        if self.full.predicted == self.label:
            return "lost: the full version was right"
        return "won: the variant is right" if self.variant.predicted == self.label else "both wrong"


def flips(full: Logits, variant: Logits, test: Samples) -> tuple[Flip, ...]:
    """All inputs that flip: those that were lost first, and among them those that the full version was surest of.

    Args:
        full: logits (n, classes) of the full version on `test`.
        variant: the variant's.
        test: n labelled samples.
    """
    before, after = predicted(full), predicted(variant)
    p_full, p_variant = _softmax(full), _softmax(variant)
    found = [
        Flip(
            int(row),
            int(test.labels[row]),
            Opinion(int(before[row]), float(p_full[row, before[row]])),
            Opinion(int(after[row]), float(p_variant[row, after[row]])),
        )
        for row in np.flatnonzero((before != after) | (after == NO_CLASS))
    ]
    return tuple(sorted(found, key=lambda flip: (flip.full.predicted != flip.label, -flip.full.probability)))


def _softmax(logits: Logits) -> Logits:
    """Rows with a NaN or an infinity have no probabilities: 0."""
    finite = np.isfinite(logits).all(axis=1, keepdims=True)
    shifted = np.where(finite, logits, 0).astype(np.float64)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.where(finite, powers / powers.sum(axis=1, keepdims=True), 0.0)
