"""Appraises a version on the test set: every figure of its card, and for a variant the gate's verdict.

The test set is read here and nowhere earlier: whatever was chosen was chosen before. Without one, versions are
compared on calibration rows, which decides nothing: the verdict is then "insufficient-data".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.data.samples import Samples
from models.evaluate import gate, measure
from models.evaluate import profile as operators
from models.evaluate.entries import Asked, entry
from models.evaluate.evidence import Circumstances, collect
from models.evaluate.resident import resident_bytes
from models.evaluate.speed import BATCHES, Effort, not_faster, speed
from service.core.contract import Arrays, TensorSpec
from service.repository.card import Size
from service.repository.card_measures import Batching, Speed
from service.repository.card_tasks import AnyQuality, Task
from service.runtime.runner import Runner

RESIDENT_ROWS = 32


@dataclass(frozen=True, slots=True)
class Trial:
    """How a version is measured.

    Attributes:
        bench: this machine.
        test: the test set; None where there is none.
        output: the one that is judged.
        runs: timed runs a batch size, at most.
        task: what the answers are held against: labels, targets, or each other.
        calibration: input name -> (n, ...), compared on where there is no test set.
        budget_s: seconds for all timed runs of a version together.
    """

    bench: measure.Bench
    test: Samples | None
    output: str
    runs: int = 300
    task: Task = "classification"
    calibration: Arrays | None = None
    budget_s: float = 60.0

    @property
    def asked(self) -> Asked:
        """The rows that are run.

        Raises:
            ValueError: there are none.
        """
        if self.test is not None:
            return Asked(self.task, self.test)
        if self.calibration is None:
            raise ValueError("A version is measured on a test set or on calibration rows, and there are neither.")
        return Asked(self.task, Samples(self.calibration), is_test=False)


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The measured parts of a card; `decision` and `gain_kind` are None for a full version.

    `notes` are plain sentences: why a variant is not faster, and how it was measured where that is not plain.
    """

    size: Size
    quality: AnyQuality
    batching: Batching
    speed: tuple[Speed, ...]
    decision: gate.Decision | None = None
    gain_kind: gate.GainKind | None = None
    notes: tuple[str, ...] = ()


def appraise_full(onnx: bytes, trial: Trial) -> Appraisal:
    """Measures a full version, which nobody judges.

    Raises:
        BadModel: it does not load.
        ValueError: it and the trial do not fit together.
    """
    asked = trial.asked
    subject = _load(onnx, trial)
    answers = measure.answers(subject.runner, asked.samples.inputs, trial.output)
    batching = measure.batching(subject.runner, asked.samples.inputs, limit=measure.FLOAT_SENSITIVITY)
    timed = _speed(subject, trial)
    resident = _resident(onnx, subject.runner, trial)
    subject.runner.close()
    return Appraisal(
        size=Size(file_bytes=len(onnx), resident_bytes=resident),
        quality=entry(answers, asked, trial.bench),
        batching=batching,
        speed=timed,
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
    """Measures a variant beside its full version and asks the gate.

    Args:
        onnx: the variant.
        trial: how.
        full_onnx: the version it was made from.
        full: that version's sizes.
        profile: how strict the gate is.
        coded_bytes: size of the coded form, where it is published so: then that is what it must be worth.

    Raises:
        BadModel: one of them does not load.
        ValueError: the full version and the trial do not fit together.
    """
    parent = _load(full_onnx, trial)
    runner = measure.open_runner(onnx, trial.bench)
    same_signature = (runner.inputs, runner.outputs) == (parent.runner.inputs, parent.runner.outputs)
    seen = _run(onnx, runner, parent, trial)
    parent.runner.close()
    runner.close()
    size = Size(
        file_bytes=len(onnx),
        parent_file_bytes=full.file_bytes,
        coded_bytes=coded_bytes,
        resident_bytes=seen.resident_bytes,
    )
    around = Circumstances(same_signature, seen.batching.sensitivity, size, full.resident_bytes, seen.speed)
    evidence = collect(seen.quality, around)
    decision = gate.judge(evidence, profile)
    return Appraisal(
        size,
        seen.quality.model_copy(update={"verdict": decision.verdict}),
        seen.batching,
        seen.speed,
        decision,
        gate.gain_kind(evidence),
        (*_how(seen.batching), *_why(onnx, full_onnx, seen.speed, trial)),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What runs of a variant showed."""

    quality: AnyQuality
    batching: Batching
    speed: tuple[Speed, ...] = ()
    resident_bytes: int | None = None


def _run(onnx: bytes, runner: Runner, parent: measure.Subject, trial: Trial) -> _Seen:
    asked = trial.asked
    inputs = asked.samples.inputs
    theirs = measure.answers(parent.runner, inputs, trial.output)
    if _specs(runner.inputs) != _specs(parent.runner.inputs) or trial.output not in [o.name for o in runner.outputs]:
        none = measure.Answers(np.full(theirs.logits.shape, np.nan), deterministic=True)
        reason = "It was not run: its inputs or outputs are not the full version's."
        return _Seen(entry(none, asked, trial.bench, theirs), Batching(mode="single-request-only", reason=reason))
    batching = measure.batching(runner, inputs, limit=gate.MOST_SENSITIVITY)
    answers = measure.answers(runner, inputs, trial.output, rows=None if batching.mode == "any" else 1)
    subject = _load(onnx, trial)
    seen = _Seen(
        entry(answers, asked, trial.bench, theirs),
        batching,
        _speed(subject, trial, parent),
        _resident(onnx, runner, trial),
    )
    subject.runner.close()
    return seen


def _specs(specs: tuple[TensorSpec, ...]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(spec.name, spec.datatype, spec.shape) for spec in specs}


def _load(onnx: bytes, trial: Trial) -> measure.Subject:
    inputs = trial.asked.samples.inputs
    runner = measure.open_runner(onnx, trial.bench)
    rows = measure.rows_a_run(runner, inputs, trial.output)
    runner.close()
    return measure.load(onnx, trial.bench, measure.first_rows(inputs, rows or 1))


def _speed(subject: measure.Subject, trial: Trial, full: measure.Subject | None = None) -> tuple[Speed, ...]:
    effort = Effort(trial.runs, trial.budget_s)
    return tuple(speed(subject, trial.asked.samples.inputs, trial.bench, effort=effort, full=full))


def _resident(onnx: bytes, runner: Runner, trial: Trial) -> int:
    inputs = trial.asked.samples.inputs
    rows = measure.rows_a_run(runner, inputs, trial.output) or RESIDENT_ROWS
    return resident_bytes(onnx, measure.first_rows(inputs, rows))


def _how(batching: Batching) -> tuple[str, ...]:
    if batching.mode == "any" or batching.sensitivity is None:
        return ()
    return (
        "Its quality was measured one row at a time, as its requests run; the rows of a request of several still share "
        f"a batch, and may change by {batching.sensitivity:.3g} of the largest output.",
    )


def _why(onnx: bytes, full_onnx: bytes, timed: tuple[Speed, ...], trial: Trial) -> tuple[str, ...]:
    """Why it is not faster, at the batch size where it does worst."""
    slow = not_faster(timed)
    if slow is None:
        return ()
    inputs, runs = trial.asked.samples.inputs, _profiled_runs(slow, trial.budget_s)
    full, own = (operators.profile(one, inputs, trial.bench, rows=slow.rows, runs=runs) for one in (full_onnx, onnx))
    return operators.explain(full, own)


def _profiled_runs(slow: Speed, budget_s: float) -> int:
    """As many as the timed runs of a batch size may take time for, for a slow model is run less often here too."""
    pair_ms = slow.own.p50_ms + (slow.full.p50_ms if slow.full else 0.0)
    return max(1, min(operators.RUNS, int(budget_s * 1e3 / len(BATCHES) / pair_ms)))


__all__ = ["BATCHES", "Appraisal", "Task", "Trial", "appraise_full", "appraise_variant"]
