"""The flipped inputs of one variant, drawn: the input, and what either version's answer hangs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from models.data.samples import Samples
from models.evaluate import measure
from models.report.flips import Flip, Opinion, flips
from models.report.occlusion import attribution
from models.report.pictures import picture_of, picture_of_attribution
from service.runtime.onnx import OnnxRunner

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


def examples(
    full_onnx: bytes,
    variant_onnx: bytes,
    test: Samples,
    bench: measure.Bench,
    *,
    output: str,
    labels: Sequence[str] = (),
    shown: int = SHOWN,
    on_example: Callable[[], None] = lambda: None,
) -> Examples:
    """Runs both versions on the test set and draws what flips.

    Args:
        full_onnx: the full version.
        variant_onnx: the variant.
        test: labelled samples.
        bench: this machine.
        output: the output that carries the logits (n, classes).
        labels: names of the classes, in order; numbers without.
        shown: how many are drawn at most.
        on_example: called after each.
    """
    first = {name: array[:1] for name, array in test.inputs.items()}
    runners = [measure.load(onnx, bench, first).runner for onnx in (full_onnx, variant_onnx)]
    try:
        logits = [measure.answers(runner, test.inputs, output).logits for runner in runners]
        found = flips(logits[0], logits[1], test)
        drawn = []
        for flip in found[:shown]:
            drawn.append(_draw(flip, test, runners, output, labels))
            on_example()
    finally:
        for runner in runners:
            runner.close()
    kinds = [flip.kind.partition(":")[0] for flip in found]
    return Examples(len(test), kinds.count("lost"), kinds.count("won"), kinds.count("both wrong"), tuple(drawn))


def _draw(flip: Flip, test: Samples, runners: list[OnnxRunner], output: str, labels: Sequence[str]) -> Example:
    name = next(iter(test.inputs))
    sample = {each: array[[flip.row]] for each, array in test.inputs.items()}
    found = [
        attribution(runner, sample, name, output=output, chosen=opinion.predicted)
        for runner, opinion in zip(runners, (flip.full, flip.variant), strict=True)
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
