"""Which parts of an input an answer hangs on, by hiding them one after the other.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2. It asks
nothing of a model but to run, so that a full version and a quantised one are looked at in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.contract import Array, Arrays
from service.runtime.runner import Runner

PATCHES = 8
ROWS_A_RUN = 32

Floats = NDArray[np.floating[Any]]
Place = tuple[slice | int, ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What hiding each part does.

    Attributes:
        kind: "image" (channels, height, width), "tokens" (length,) or "values" (any other shape).
        drops: how much the class's probability falls; (height, width) of an image, else the input's shape.
    """

    kind: str
    drops: Floats


def kind_of(array: Array) -> str:
    """What one sample (without the batch axis) is, judged by its shape and dtype."""
    if array.dtype.kind in "iu" and array.ndim == 1:
        return "tokens"
    return "image" if array.ndim == 3 and array.shape[0] in (1, 3) else "values"


def attribution(
    runner: Runner, inputs: Arrays, name: str, *, output: str, chosen: int, neutral: Array | None = None
) -> Attribution:
    """How the probability of class `chosen` falls when parts of input `name` are hidden.

    Args:
        runner: gives logits (n, classes) under `output`.
        inputs: one sample: name -> (1, ...).
        name: the input whose parts are hidden: float values, or whole numbers that are tokens.
        output: of the logits.
        chosen: the class.
        neutral: what a hidden part holds, of one sample's shape; None takes the sample's own mean, for tokens 0.
    """
    sample = inputs[name][0]
    kind = kind_of(sample)
    if neutral is None:
        neutral = np.full_like(sample, 0 if kind == "tokens" else sample.mean())
    places = list(_patches(sample.shape) if kind == "image" else ((*at,) for at in np.ndindex(sample.shape)))
    hidden = np.repeat(sample[np.newaxis], len(places), axis=0)
    for row, place in zip(hidden, places, strict=True):
        row[place] = neutral[place]
    p = _probabilities(runner, inputs, name, np.concatenate([sample[np.newaxis], hidden]), output)[:, chosen]
    drops = np.zeros(sample.shape)
    for place, left in zip(places, p[1:], strict=True):
        drops[place] = p[0] - left
    return Attribution(kind, drops[0] if kind == "image" else drops)


def _patches(shape: tuple[int, ...]) -> Iterator[Place]:
    """About `PATCHES` x `PATCHES` patches that cover an image (channels, height, width), each through all channels."""
    _, height, width = shape
    down, across = (max(1, round(edge / PATCHES)) for edge in (height, width))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield slice(None), slice(top, top + down), slice(left, left + across)


def _probabilities(runner: Runner, inputs: Arrays, name: str, rows: Array, output: str) -> Floats:
    """Softmax of the logits (n, classes), `rows` (n, ...) under `name` and every other input repeated."""
    parts = []
    for start in range(0, len(rows), ROWS_A_RUN):
        some = rows[start : start + ROWS_A_RUN]
        feed = {other: np.repeat(array, len(some), axis=0) for other, array in inputs.items()} | {name: some}
        parts.append(runner.run(feed)[output].astype(np.float64))
    logits = np.concatenate(parts)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
