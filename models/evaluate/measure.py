"""Runs versions on this machine and turns what comes back into the measured parts of a card.

The runs go through the runner that serves, so that what is measured is what answers. Which set a version is run on is
the caller's business; choosing belongs to the development set, deciding to the test set.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluate import gate, latency, quality
from models.evaluate.quality import Logits
from models.evaluate.sensitivity import batch_sensitivity
from service.core.contract import Arrays
from service.repository.card import Size
from service.repository.card_measures import Batching, Paired, Quality, Speed, Verdict
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import Provider, RunnerOptions
from service.runtime.runner import Runner

BATCHES = (1, 8, 32)
ANSWER_ROWS = 100
SENSITIVITY_ROWS = 64
FLOAT_SENSITIVITY = 1e-5


@dataclass(frozen=True, slots=True)
class Bench:
    """Where figures were taken."""

    cpu_class: str
    provider: Provider = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """A version loaded for measurement; `load_ms` from bytes to a session, `first_run_ms` its first run."""

    runner: OnnxRunner
    load_ms: float
    first_run_ms: float


@dataclass(frozen=True, slots=True)
class Answers:
    """A version's logits (n, classes) on a set, and whether a second run gave the same bytes."""

    logits: Logits
    deterministic: bool


def load(onnx: bytes, bench: Bench, feed: Arrays) -> Subject:
    """Loads a version and runs `feed` once.

    Raises:
        BadModel: it does not load.
    """
    start_s = time.perf_counter()
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider=bench.provider, threads=bench.threads))
    loaded_s = time.perf_counter()
    runner.run(feed)
    return Subject(runner, _ms(loaded_s - start_s), _ms(time.perf_counter() - loaded_s))


def answers(runner: Runner, inputs: Arrays, output: str) -> Answers:
    """One output for all rows of `inputs`, in batches of `ANSWER_ROWS`, twice."""
    first, second = (_run_all(runner, inputs, output) for _ in range(2))
    return Answers(first, first.tobytes() == second.tobytes())


def quality_entry(
    scores: quality.Scores,
    bench: Bench,
    *,
    deterministic: bool,
    paired: Paired | None = None,
    verdict: Verdict | None = None,
) -> Quality:
    """One entry of the card's `quality`."""
    return Quality(
        provider=bench.provider,
        cpu_class=bench.cpu_class,
        n=scores.n,
        accuracy=scores.accuracy,
        macro_precision=scores.macro_precision,
        macro_recall=scores.macro_recall,
        macro_f1=scores.macro_f1,
        support_by_class=scores.support_by_class,
        recall_by_class=scores.recall_by_class,
        non_finite_rows=scores.non_finite_rows,
        deterministic=deterministic,
        paired=paired,
        verdict=verdict,
    )


def evidence(
    scores: quality.Scores,
    paired: Paired,
    *,
    deterministic: bool,
    same_signature: bool,
    sensitivity: float | None,
    size: Size,
    full_resident_bytes: int | None,
    speed: Sequence[Speed],
) -> gate.Evidence:
    """What the gate reads, in whole rows, from the parts of a card."""
    classes = zip(scores.support_by_class, paired.full_recall_by_class, scores.recall_by_class, strict=True)
    return gate.Evidence(
        n=scores.n,
        full_right=round(paired.full_accuracy * scores.n),
        b=paired.b,
        c=paired.c,
        flips=paired.flips,
        classes=tuple(gate.ClassCount(n, round(full * n), round(own * n)) for n, full, own in classes),
        non_finite_rows=scores.non_finite_rows,
        same_signature=same_signature,
        deterministic=deterministic,
        sensitivity=sensitivity,
        full_bytes=size.parent_file_bytes or size.file_bytes,
        bytes=size.file_bytes,
        full_resident_bytes=full_resident_bytes,
        resident_bytes=size.resident_bytes,
        speedups=tuple(one.speedup_interval_95 for one in speed if one.speedup_interval_95 is not None),
    )


def batching(runner: Runner, inputs: Arrays, *, limit: float) -> Batching:
    """The card's `batching`, from the first `SENSITIVITY_ROWS` rows of `inputs`; above `limit` nothing is mixed."""
    few = {name: array[:SENSITIVITY_ROWS] for name, array in inputs.items()}
    sensitivity = float(f"{batch_sensitivity(runner, few):.3g}")
    if sensitivity <= limit:
        return Batching(mode="any", sensitivity=sensitivity)
    reason = f"An answer changes by {sensitivity:.3g} of the largest output with its batch-mates, more than {limit:g}."
    return Batching(mode="single-request-only", sensitivity=sensitivity, reason=reason)


def speed(subject: Subject, inputs: Arrays, bench: Bench, *, runs: int, full: Subject | None = None) -> list[Speed]:
    """One entry of the card's `speed` for each of `BATCHES`; interleaved with the full version's if there is one."""
    return [_speed_at(rows, subject, inputs, bench, runs, full) for rows in BATCHES]


def _speed_at(rows: int, subject: Subject, inputs: Arrays, bench: Bench, runs: int, full: Subject | None) -> Speed:
    feed = {name: array[:rows] for name, array in inputs.items()}
    entry = {
        "provider": bench.provider,
        "cpu_class": bench.cpu_class,
        "threads": bench.threads,
        "rows": rows,
        "runs": runs,
        "load_ms": subject.load_ms,
        "first_run_ms": subject.first_run_ms,
    }
    if full is None:
        own = latency.timing(latency.run_times(subject.runner, feed, runs=runs), rows)
        return Speed.model_validate({**entry, "own": own})
    raced = latency.race(subject.runner, full.runner, feed, runs=runs)
    return Speed.model_validate(
        {
            **entry,
            "own": raced.variant,
            "full": raced.full,
            "speedup": raced.speedup,
            "speedup_interval_95": raced.speedup_interval_95,
        }
    )


def _run_all(runner: Runner, inputs: Arrays, output: str) -> Logits:
    n = len(next(iter(inputs.values())))
    starts = range(0, n, ANSWER_ROWS)
    batches = ({name: array[at : at + ANSWER_ROWS] for name, array in inputs.items()} for at in starts)
    return np.concatenate([runner.run(batch)[output] for batch in batches])


def _ms(seconds: float) -> float:
    return float(f"{seconds * 1e3:.4g}")
