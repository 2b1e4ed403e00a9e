"""Appraises a version on the test set: every figure of its card, and for a variant the gate's verdict.

The test set is read here and nowhere earlier: whatever was chosen was chosen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.data.samples import Samples
from models.evaluate import gate, measure, quality
from models.evaluate.resident import resident_bytes
from service.core.contract import Arrays
from service.repository.card import Size
from service.repository.card_measures import Batching, Quality, Speed

RESIDENT_ROWS = 32
Task = Literal["classification", "regression", "embedding"]


@dataclass(frozen=True, slots=True)
class Trial:
    """How a version is measured: on `test`, reading `output`, with `runs` timed runs a batch size."""

    bench: measure.Bench
    test: Samples
    output: str
    runs: int = 300
    task: Task = "classification"
    calibration: Arrays | None = None


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The measured parts of a card; `decision` and `gain_kind` are None for a full version."""

    size: Size
    quality: Quality
    batching: Batching
    speed: tuple[Speed, ...]
    decision: gate.Decision | None = None
    gain_kind: gate.GainKind | None = None
    notes: tuple[str, ...] = ()


def appraise_full(onnx: bytes, trial: Trial) -> Appraisal:
    """Measures a full version, which nobody judges."""
    subject = _load(onnx, trial)
    inputs = trial.test.inputs
    answers = measure.answers(subject.runner, inputs, trial.output)
    scores = quality.score(answers.logits, trial.test.labels)
    batching = measure.batching(subject.runner, inputs, limit=measure.FLOAT_SENSITIVITY)
    speed = tuple(measure.speed(subject, inputs, trial.bench, runs=trial.runs))
    subject.runner.close()
    return Appraisal(
        size=Size(file_bytes=len(onnx), resident_bytes=resident_bytes(onnx, rows=RESIDENT_ROWS)),
        quality=measure.quality_entry(scores, trial.bench, deterministic=answers.deterministic),
        batching=batching,
        speed=speed,
    )


def appraise_variant(
    onnx: bytes,
    trial: Trial,
    *,
    full_onnx: bytes,
    full: Size,
    profile: gate.Profile,
    coded_bytes: int | None = None,
) -> Appraisal:
    """Measures a variant beside its full version, of which `full` are the sizes, and asks the gate."""
    own, parent = _load(onnx, trial), _load(full_onnx, trial)
    inputs = trial.test.inputs
    own_answers, full_answers = (measure.answers(one.runner, inputs, trial.output) for one in (own, parent))
    scores = quality.score(own_answers.logits, trial.test.labels)
    paired = quality.compare(full_answers.logits, own_answers.logits, trial.test.labels)
    batching = measure.batching(own.runner, inputs, limit=gate.MOST_SENSITIVITY)
    speed = tuple(measure.speed(own, inputs, trial.bench, runs=trial.runs, full=parent))
    same_signature = (own.runner.inputs, own.runner.outputs) == (parent.runner.inputs, parent.runner.outputs)
    own.runner.close()
    parent.runner.close()
    size = Size(
        file_bytes=len(onnx),
        parent_file_bytes=full.file_bytes,
        coded_bytes=coded_bytes,
        resident_bytes=resident_bytes(onnx, rows=RESIDENT_ROWS),
    )
    evidence = measure.evidence(
        scores,
        paired,
        deterministic=own_answers.deterministic,
        same_signature=same_signature,
        sensitivity=batching.sensitivity,
        size=size,
        full_resident_bytes=full.resident_bytes,
        speed=speed,
    )
    decision = gate.judge(evidence, profile)
    entry = measure.quality_entry(
        scores, trial.bench, deterministic=own_answers.deterministic, paired=paired, verdict=decision.verdict
    )
    return Appraisal(size, entry, batching, speed, decision, gate.gain_kind(evidence))


def _load(onnx: bytes, trial: Trial) -> measure.Subject:
    return measure.load(onnx, trial.bench, {name: array[:1] for name, array in trial.test.inputs.items()})
