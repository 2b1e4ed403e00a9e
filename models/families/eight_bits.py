"""A network in 8 bits, in the first of several forms that keeps enough of the accuracy on the development part.

For classifiers of one input. The test set is not looked at: what is chosen here is judged elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from models.compress.int8_static import Int8Static, int8_static
from models.compress.preprocess import Preprocess, preprocess
from models.compress.technique import Material
from models.data.samples import Samples
from models.evaluate.quality import score
from models.families.family import Bench
from models.made import Made
from service.repository.card import Step
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions

BATCH_ROWS = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """How a form is chosen.

    Attributes:
        forms: in the order in which they are tried.
        rows: of the development part, the first by hash.
        enough: share of the parent's accuracy there with which a form is taken; without one that has it, the best is.
    """

    forms: tuple[Int8Static, ...]
    rows: int = 2000
    enough: float = 0.995


def eight_bits(version: str, bench: Bench, parent: Made, choice: Choice, output: str) -> Made:
    """`parent` in 8 bits, with the steps of its recipe and, after them, its own.

    Args:
        version: its id.
        bench: with a development and a calibration part.
        parent: what is quantised: the full version, or a variant of it.
        choice: among which forms.
        output: of the graph, the logits.
    """
    forms = choice.forms[:1] if bench.quick else choice.forms
    development = first(bench.parts["development"], choice.rows)
    enough = choice.enough * accuracy(parent.onnx, development, output)
    ready, material = preprocess(parent.onnx, Preprocess()), Material(bench.parts["calibration"].inputs)
    found: list[tuple[float, bytes, Int8Static]] = []
    with bench.work.progress.task(version, len(forms)) as step:
        for form in forms:
            onnx = int8_static(ready, form, material)
            found.append((accuracy(onnx, development, output), onnx, form))
            step(f"{form.calibrator}, {', '.join(form.op_types)}: accuracy {found[-1][0]:.4f}, enough {enough:.4f}")
            if found[-1][0] >= enough:
                break
    _, onnx, form = max(found, key=lambda one: one[0])
    steps = (
        *parent.recipe.steps,
        Step(technique="preprocess", arguments=asdict(Preprocess())),
        Step(technique="int8_static", arguments=asdict(form)),
    )
    return Made(version, onnx, parent.recipe.model_copy(update={"name": f"{parent.recipe.name}-int8", "steps": steps}))


def accuracy(onnx: bytes, samples: Samples, output: str) -> float:
    """The share of the samples that a classifier gets right."""
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1))
    ((name, rows),) = samples.inputs.items()
    parts = [runner.run({name: rows[at : at + BATCH_ROWS]})[output] for at in range(0, len(samples), BATCH_ROWS)]
    runner.close()
    return score(np.concatenate(parts), samples.labels).accuracy


def first(samples: Samples, rows: int) -> Samples:
    """The first so many samples, or all there are."""
    return samples.take(range(min(rows, len(samples))))
