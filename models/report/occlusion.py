"""Which parts of an input an answer hangs on, by hiding them one after the other.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2. It asks
nothing of a model but to run, so that a full version and a quantised one are looked at in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluate import measure
from models.evaluate.quality import NO_CLASS, by_class
from service.core.contract import Array, Arrays
from service.runtime.runner import Runner

PATCHES = 8
ROWS_A_RUN = 32
# Parts that a long sample is cut into: each costs a run of a row.
MOST_PARTS = 256

Floats = NDArray[np.floating[Any]]
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What hiding each part does.

    Attributes:
        kind: "image" (channels, height, width), "tokens" (length,) or "values" (any other shape).
        drops: how much the class's probability falls; (height, width) of an image, else the input's shape.
    """

    kind: str
    drops: Floats


@dataclass(frozen=True, slots=True)
class Side:
    """A version that is asked: its runner, and how many rows may share a run; None for any."""

    runner: Runner
    rows: int | None = None

    def logits(self, inputs: Arrays) -> Floats:
        """Logits (n, classes) of the first output, for inputs (n, ...).

        Raises:
            ValueError: it is no classifier's.
        """
        output = self.runner.outputs[0].name
        return by_class(measure.answers(self.runner, inputs, output, rows=self.rows, again=False).logits)


def kind_of(array: Array) -> str:
    """What one sample (without the batch axis) is, judged by its shape and dtype."""
    if array.dtype.kind in "iu" and array.ndim == 1:
        return "tokens"
    return "image" if array.ndim == 3 and array.shape[0] in (1, 3) else "values"


def attribution(side: Side, inputs: Arrays, name: str, *, chosen: int, neutral: Array | None = None) -> Attribution:
    """How the probability of class `chosen` falls when parts of input `name` are hidden.

    Args:
        side: the version.
        inputs: one sample: name -> (1, ...).
        name: the input whose parts are hidden: numbers, or whole numbers that are tokens; nothing else is hidden.
        chosen: the class; on `NO_CLASS` nothing hangs.
        neutral: what a hidden part holds, of one sample's shape; None takes the sample's own mean, for tokens 0.
    """
    sample = inputs[name][0]
    kind = kind_of(sample)
    drops = np.zeros(sample.shape)
    if chosen != NO_CLASS and sample.dtype.kind in "fiub":
        if neutral is None:
            neutral = np.full_like(sample, 0 if kind == "tokens" else sample.mean())
        (before,) = _probabilities(side, inputs, name, sample[np.newaxis], chosen)
        for places in _batched(_patches(sample.shape) if kind == "image" else _pieces(sample.shape), ROWS_A_RUN):
            hidden = np.repeat(sample[np.newaxis], len(places), axis=0)
            for row, place in zip(hidden, places, strict=True):
                row[place] = neutral[place]
            for place, left in zip(places, _probabilities(side, inputs, name, hidden, chosen), strict=True):
                drops[place] = before - left
    return Attribution(kind, drops[0] if kind == "image" else drops)


def _batched(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """Lists of up to `size` of them, in order."""
    some = iter(places)
    while found := list(islice(some, size)):
        yield found


def _patches(shape: tuple[int, ...]) -> Iterator[Place]:
    """About `PATCHES` x `PATCHES` patches that cover an image (channels, height, width), each through all channels."""
    _, height, width = shape
    down, across = (max(1, round(edge / PATCHES)) for edge in (height, width))
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield slice(None), slice(top, top + down), slice(left, left + across)


def _pieces(shape: tuple[int, ...]) -> Iterator[Place]:
    """At most `MOST_PARTS` pieces of neighbours, as equal as can be: each number on its own where there are few."""
    if not shape:
        yield ()
        return
    size = math.prod(shape)
    for piece in np.array_split(np.arange(size), min(MOST_PARTS, size)):
        yield np.unravel_index(piece, shape)


def _probabilities(side: Side, inputs: Arrays, name: str, rows: Array, chosen: int) -> Floats:
    """Of the class by softmax, (n,): `rows` (n, ...) under `name`, every other input repeated; 0 for NaN."""
    feed = {other: np.repeat(array, len(rows), axis=0) for other, array in inputs.items()} | {name: rows}
    logits = side.logits(feed).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(np.nan_to_num(powers[:, chosen] / powers.sum(axis=1)))
