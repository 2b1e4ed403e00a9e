"""The flipped inputs of one variant, drawn: the input, and what either version's answer hangs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.data.samples import Samples
from models.evaluate import measure
from models.report.flips import Flip, Opinion, flips
from models.report.occlusion import Side, attribution
from models.report.pictures import picture_of, picture_of_attribution

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Example:
    """One flipped input, in pieces of HTML; the attributions are of each version's own class, on one scale."""

    flip: Flip
    label: str
    full: str
    variant: str
    picture: str
    full_attribution: str
    variant_attribution: str


@dataclass(frozen=True, slots=True)
class Examples:
    """What flips: how many inputs of how many, and the first `SHOWN` of them."""

    n: int
    lost: int
    won: int
    both_wrong: int
    shown: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Show:
    """How flips are drawn.

    Attributes:
        bench: this machine.
        labels: names of the classes, in order; numbers without.
        most: how many are drawn at most.
        on_example: called after each.
    """

    bench: measure.Bench
    labels: Sequence[str] = ()
    most: int = SHOWN
    on_example: Callable[[], None] = lambda: None


def examples(full_onnx: bytes, variant_onnx: bytes, test: Samples, show: Show, *, mixes: bool = True) -> Examples:
    """Runs both versions on the test set, as when they were measured, and draws what flips.

    Args:
        full_onnx: the full version.
        variant_onnx: the variant.
        test: labelled samples.
        show: how.
        mixes: whether requests of the variant may share a batch; its rows are run one by one if not.

    Raises:
        BadModel, BadInput, ValueError: a version does not load, run on these rows, or answer with classes.
    """
    runners = [measure.open_runner(onnx, show.bench) for onnx in (full_onnx, variant_onnx)]
    sides = (Side(runners[0]), Side(runners[1], None if mixes else 1))
    try:
        logits = [side.logits(test.inputs) for side in sides]
        found = flips(logits[0], logits[1], test)
        drawn = []
        for flip in found[: show.most]:
            drawn.append(_draw(flip, test, sides, show.labels))
            show.on_example()
    finally:
        for runner in runners:
            runner.close()
    kinds = [flip.kind.partition(":")[0] for flip in found]
    return Examples(len(test), kinds.count("lost"), kinds.count("won"), kinds.count("both wrong"), tuple(drawn))


def _draw(flip: Flip, test: Samples, sides: Sequence[Side], labels: Sequence[str]) -> Example:
    name = next(iter(test.inputs))
    sample = {each: array[[flip.row]] for each, array in test.inputs.items()}
    found = [
        attribution(side, sample, name, chosen=opinion.predicted)
        for side, opinion in zip(sides, (flip.full, flip.variant), strict=True)
    ]
    scale = max(float(np.abs(one.drops).max(initial=0)) for one in found)
    full, variant = (picture_of_attribution(one, sample[name][0], scale) for one in found)
    return Example(
        flip,
        _name(flip.label, labels),
        _opinion(flip.full, labels),
        _opinion(flip.variant, labels),
        picture_of(sample[name][0]),
        full,
        variant,
    )


def _opinion(opinion: Opinion, labels: Sequence[str]) -> str:
    return f"{_name(opinion.predicted, labels)} ({opinion.probability:.0%})"


def _name(at: int, labels: Sequence[str]) -> str:
    if at < 0:
        return "no class: NaN or infinity"
    return labels[at] if at < len(labels) else str(at)
