"""Runs versions on this machine: loads them, collects their answers, and finds out what batch-mates do to a row.

The runs go through the runner that serves, so that what is measured is what answers. Which set a version is run on is
the caller's business; choosing belongs to the development set, deciding to the test set. Times are `speed`'s.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bounded import RUN_TIMEOUT_S, BoundedRunner
from models.evaluate.sensitivity import batch_sensitivity
from service.core.contract import Array, Arrays
from service.core.errors import BadInput, RunFailed
from service.repository.card_measures import Batching
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import Provider, RunnerOptions
from service.runtime.runner import Runner

ANSWER_ROWS = 100
SENSITIVITY_ROWS = 64
# Sums in another order, as another batch size brings them, and no more.
FLOAT_SENSITIVITY = 1e-4
# A second pass over more rows would show nothing that one over these does not.
REPEATED_ROWS = 1000
LOADS = 3
_SLOW_LOAD_S = 2.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Where figures were taken; a run that takes longer than `run_timeout_s` is stopped."""

    cpu_class: str
    provider: Provider = "cpu"
    threads: int = 1
    run_timeout_s: float = RUN_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Subject:
    """A version loaded for measurement; `load_ms` from bytes to a session, `first_run_ms` its first run."""

    runner: Runner
    load_ms: float
    first_run_ms: float


@dataclass(frozen=True, slots=True)
class Answers:
    """A version's answers on a set.

    Attributes:
        logits: the asked output, rows on axis 0: logits (n, classes), numbers, or vectors.
        deterministic: whether a second run gave the same bytes, in every output.
        non_finite_rows: rows with a NaN or an infinity in any output.
    """

    logits: NDArray[Any]
    deterministic: bool
    non_finite_rows: int = 0


def open_runner(onnx: bytes, bench: Bench) -> Runner:
    """Loads a version, whose runs end.

    Raises:
        BadModel: it does not load.
    """
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider=bench.provider, threads=bench.threads))
    return BoundedRunner(runner, bench.run_timeout_s)


def load(onnx: bytes, bench: Bench, feed: Arrays) -> Subject:
    """Loads a version, `LOADS` times unless that is slow, and runs `feed` once after each; times are medians.

    Raises:
        BadModel: it does not load.
        BadInput: it does not take `feed`.
    """
    times_s: list[tuple[float, float]] = []
    while True:
        start_s = time.perf_counter()
        runner = open_runner(onnx, bench)
        loaded_s = time.perf_counter()
        runner.run(feed)
        times_s.append((loaded_s - start_s, time.perf_counter() - loaded_s))
        if len(times_s) == LOADS or sum(times_s[0]) > _SLOW_LOAD_S:
            break
        runner.close()
    load_s, first_s = (statistics.median(one) for one in zip(*times_s, strict=True))
    return Subject(runner, _ms(load_s), _ms(first_s))


def rows_a_run(runner: Runner, inputs: Arrays, output: str) -> int | None:
    """How many rows a run takes: a fixed number, or None for any; 1 where two rows do not give two answers.

    Raises:
        ValueError: an input has no axis for rows, or there is no such output.
    """
    names = [spec.name for spec in runner.outputs]
    if output not in names:
        raise ValueError(f"There is no output '{output}', only {', '.join(names)}.")
    for spec in runner.inputs:
        if not spec.dims:
            raise ValueError(f"Input '{spec.name}' is a single number, with no axis for samples.")
    fixed = [spec.dims[0] for spec in runner.inputs if isinstance(spec.dims[0], int)]
    if fixed:
        return min(fixed)
    try:
        answer = runner.run(first_rows(inputs, 2))[output]
    except (BadInput, RunFailed):
        return 1
    return None if answer.ndim and len(answer) == 2 else 1


def first_rows(inputs: Arrays, rows: int) -> dict[str, Array]:
    """The first rows, from the beginning again where there are fewer."""
    return {name: array[np.arange(rows) % len(array)] for name, array in inputs.items()}


def answers(runner: Runner, inputs: Arrays, output: str, *, rows: int | None = None, again: bool = True) -> Answers:
    """One output for all rows of `inputs`, and how the others behaved.

    Args:
        runner: of the version.
        inputs: name -> (n, ...).
        output: the one whose numbers are wanted.
        rows: a run; None for `ANSWER_ROWS`, or for as many as the model takes.
        again: whether they are run a second time, to see whether the answers are deterministic.

    Raises:
        ValueError: there is no such output, or its first axis does not hold the rows.
    """
    fixed = rows_a_run(runner, inputs, output)
    size = fixed or rows or ANSWER_ROWS
    n = len(next(iter(inputs.values())))
    first, digests, spoilt = _run_all(runner, output, _feeds(inputs, size, n, full=fixed is not None))
    if not again:
        return Answers(first, deterministic=True, non_finite_rows=spoilt)
    repeated = _feeds(inputs, size, min(n, REPEATED_ROWS), full=fixed is not None)
    _, second, _ = _run_all(runner, output, repeated)
    return Answers(first, second == digests[: len(second)], spoilt)


def batching(runner: Runner, inputs: Arrays, *, limit: float) -> Batching:
    """The card's `batching`, from the first `SENSITIVITY_ROWS` rows of `inputs`; above `limit` nothing is mixed."""
    # One row is given a mate that is its like: else nothing would be seen, and all be allowed.
    few = first_rows(inputs, min(SENSITIVITY_ROWS, max(2, len(next(iter(inputs.values()))))))
    fixed = rows_a_run(runner, few, runner.outputs[0].name)
    if fixed is not None:
        reason = f"A run takes {fixed} row{'s' if fixed > 1 else ''}, neither more nor fewer."
        return Batching(mode="single-request-only", reason=reason)
    sensitivity = float(f"{batch_sensitivity(runner, few):.3g}")
    if sensitivity <= limit:
        return Batching(mode="any", sensitivity=sensitivity)
    reason = f"An answer changes by {sensitivity:.3g} of the largest output with its batch-mates, more than {limit:g}."
    return Batching(mode="single-request-only", sensitivity=sensitivity, reason=reason)


def _run_all(runner: Runner, output: str, feeds: Iterable[tuple[Arrays, int]]) -> tuple[NDArray[Any], list[bytes], int]:
    """One output of all rows that count, a digest of all outputs of each run, and rows that are not finite."""
    parts, digests, spoilt = [], [], 0
    for feed, kept in feeds:
        found = runner.run(feed)
        if found[output].ndim == 0 or len(found[output]) < kept:
            raise ValueError(
                f"Output '{output}' has the shape {found[output].shape} for {kept} rows, which its first axis does "
                "not hold."
            )
        parts.append(found[output][:kept])
        digests.append(_digest(found))
        spoilt += int(_not_finite(found, kept).sum())
    return np.concatenate(parts), digests, spoilt


def _feeds(inputs: Arrays, size: int, n: int, *, full: bool) -> Iterator[tuple[Arrays, int]]:
    """Batches that cover the first `n` rows whole, and how many rows of each count.

    With `full`, the last batch is filled up with its last row: the model takes `size` rows, and no fewer.
    """
    total = len(next(iter(inputs.values())))
    for start in range(0, n, size):
        kept = min(size, total - start)
        rows = np.minimum(np.arange(start, start + (size if full else kept)), total - 1)
        yield {name: array[rows] for name, array in inputs.items()}, kept


def _digest(outputs: Arrays) -> bytes:
    digest = hashlib.blake2b()
    for name in sorted(outputs):
        array = outputs[name]
        digest.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return digest.digest()


def _not_finite(outputs: Arrays, rows: int) -> NDArray[np.bool_]:
    spoilt = np.zeros(rows, dtype=np.bool_)
    for array in outputs.values():
        if array.dtype.kind == "f" and array.ndim and len(array) >= rows:
            spoilt |= ~np.isfinite(array[:rows].reshape(rows, -1)).all(axis=1)
    return spoilt


def _ms(seconds: float) -> float:
    return float(f"{seconds * 1e3:.4g}")
