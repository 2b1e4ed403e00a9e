"""Makes an encoder shallower: layers are dropped, and the layers that stay are a student that starts from its teacher.

Sun et al. 2019, "Patient Knowledge Distillation", and Sanh et al. 2019, "DistilBERT": every other layer is kept. The
result answers badly until it was distilled; that is the business of a training run with a distilling objective.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from models.train.transformer import TextClassifier


def every_other(layers: int) -> tuple[int, ...]:
    """Which layers stay when half of them go: the last one does, and every second before it."""
    return tuple(range(1 - layers % 2, layers, 2))


def reduce_layers(network: TextClassifier, kept: Sequence[int]) -> TextClassifier:
    """A copy of the network with these of its layers, in this order; the given one is left alone.

    Args:
        network: as it was trained.
        kept: positions from 0, ascending; at least one, and not all.

    Raises:
        ValueError: the positions are not such.
    """
    there = len(network.encoder.layers)
    if not kept or sorted(set(kept)) != list(kept) or not 0 <= kept[0] <= kept[-1] < there or len(kept) == there:
        raise ValueError(f"Of {there} layers some but not all are kept, by ascending positions; not {tuple(kept)}.")
    student = copy.deepcopy(network)
    student.encoder.layers = nn.ModuleList(student.encoder.layers[at] for at in kept)
    return student
