"""Golden cases of a version: recorded rows that every later load must answer alike, and how near it must come.

Rows of which the versions are sure, so that honest noise on another machine moves no class; for a variant, those of
them on which it differs most from its full version, so that a mix-up of the two shows. Any inputs, all outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx as onnx_format
from numpy.typing import NDArray

from models.data.samples import Samples, arrays_to_npz
from models.evaluate import golden, measure
from service.core.contract import Array, Arrays, common_first_axis
from service.repository.onnx_file import read_onnx_facts
from service.runtime.runner import Runner

LEAST_ROWS, MOST_ROWS = 32, 64
CANDIDATE_ROWS = 512
# What an unknown machine may be away from the recorded answers leaves the class alone where the lead is this large.
SURE_SHARE = 0.1
_CLASSIFIER_RANK = 2

Lead = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cases:
    """golden.npz, and what the card says of it: the absolute tolerance, and whether its outputs name classes."""

    npz: bytes
    max_abs: float
    top1: bool
    rows: int


def share(onnx: bytes) -> float:
    """The part of the largest output that golden answers may be off: more where a graph rounds to few bits."""
    weights = onnx_format.load_from_string(onnx).graph.initializer
    halves = any(weight.data_type == onnx_format.TensorProto.FLOAT16 for weight in weights)
    return golden.QUANTISED_SHARE if halves or read_onnx_facts(onnx).quantised else golden.FLOAT_SHARE


def record(
    onnx: bytes, rows_from: Samples, bench: measure.Bench, *, mixes: bool, classes: bool, full: bytes | None = None
) -> Cases | None:
    """Golden cases of a version, at most `MOST_ROWS`; one case where the model has no batch axis.

    Args:
        onnx: of the version.
        rows_from: where the rows are taken from; never the test set.
        bench: where they are recorded.
        mixes: whether its rows may share a batch; else each is recorded alone, as it will be answered.
        classes: whether its outputs (n, classes) name a class that must stay the same.
        full: of the version that this one is a variant of.

    Returns:
        None where no case can be recorded: inputs and outputs have no common first axis, not even a fixed one.
    """
    runners = [measure.open_runner(one, bench) for one in (onnx, full) if one is not None]
    try:
        chosen = _choose(runners, rows_from)
        if chosen is None:
            return None
        outputs = _answer(runners[0], chosen, mixes=mixes)
    finally:
        for runner in runners:
            runner.close()
    rows = len(next(iter(chosen.values())))
    if any(array.ndim == 0 or len(array) != rows for array in outputs.values()):
        return None
    arrays = {f"input/{name}": array for name, array in chosen.items()}
    arrays |= {f"output/{name}": _storable(array) for name, array in outputs.items()}
    part = share(onnx)
    sure = bool(np.all(_lead(outputs) > 2 * part))  # what the tolerance lets through moves no class
    return Cases(arrays_to_npz(arrays), _tolerance(outputs, part), classes and sure, rows)


def together(parts: Sequence[Arrays]) -> Samples:
    """Several sets of inputs as one, in this order."""
    return Samples({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _choose(runners: Sequence[Runner], rows_from: Samples) -> Arrays | None:
    own = runners[0]
    if not _batched(own):
        return _one_case(own, rows_from.inputs)
    candidates = _distinct(rows_from)
    answers = [_answer(runner, candidates, mixes=True) for runner in runners]
    rows = _rows(answers)
    return {name: array[rows] for name, array in candidates.items()}


def _batched(runner: Runner) -> bool:
    return common_first_axis([*runner.inputs, *runner.outputs]) is not None


def _one_case(runner: Runner, inputs: Arrays) -> Arrays | None:
    """As many first rows as the model's fixed first axis takes, which must be the same everywhere."""
    first = {spec.dims[0] if spec.dims else None for spec in runner.inputs}
    size = first.pop() if len(first) == 1 else None
    rows = size if isinstance(size, int) else 1
    taken = {name: array[:rows] for name, array in inputs.items()}
    return taken if all(len(array) == rows for array in taken.values()) else None


def _distinct(samples: Samples) -> Arrays:
    few = samples.take(range(min(len(samples), CANDIDATE_ROWS)))
    first: dict[str, int] = {}
    for row, content in enumerate(few.row_hashes()):
        first.setdefault(content, row)
    return few.take(first.values()).inputs


def _rows(answers: list[dict[str, Array]]) -> NDArray[np.int64]:
    """The rows to record, in ascending order: finite, sure and of one class in all versions; then those that differ."""
    lead = np.min([_lead(one) for one in answers], axis=0)
    same = np.logical_and.reduce([_classes(one) == _classes(answers[0]) for one in answers]).all(axis=1)
    finite = np.logical_and.reduce([_finite(one) for one in answers])
    lead = np.where(same & finite, lead, -np.inf)
    sure = np.flatnonzero(lead >= SURE_SHARE)
    if len(sure) < MOST_ROWS:  # the surest ones there are, and no more unsure ones than it takes
        order = np.argsort(-lead, kind="stable")[: max(LEAST_ROWS, len(sure))]
    elif len(answers) > 1:
        order = sure[np.argsort(-_difference(answers[0], answers[1])[sure], kind="stable")][:MOST_ROWS]
    else:
        order = _spread(sure, _classes(answers[0])[:, 0] if _classes(answers[0]).size else None)
    return np.sort(order).astype(np.int64)


def _spread(rows: NDArray[np.int64], classes: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """`MOST_ROWS` of the rows, from all classes in turn."""
    if classes is None:
        return rows[:MOST_ROWS]
    seen: dict[int, int] = {}
    turn = np.empty(len(rows), np.int64)
    for at, row in enumerate(rows):
        turn[at] = seen[int(classes[row])] = seen.get(int(classes[row]), -1) + 1
    return rows[np.argsort(turn, kind="stable")][:MOST_ROWS]


def _tables(answer: Mapping[str, Array]) -> list[NDArray[np.floating[Any]]]:
    """The outputs that may be logits, as the gateway sees it: floats of shape (n, classes)."""
    return [
        array
        for _, array in sorted(answer.items())
        if array.dtype.kind == "f" and array.ndim == _CLASSIFIER_RANK and array.shape[1] > 1
    ]


def _lead(answer: Mapping[str, Array]) -> Lead:
    """How far each row's first class is ahead of its second, as a share of the largest value; the least of tables."""
    rows = len(next(iter(answer.values())))
    leads = [np.full(rows, np.inf)]
    for table in _tables(answer):
        top = np.sort(np.nan_to_num(table.astype(np.float64)), axis=1)[:, -2:]
        leads.append((top[:, 1] - top[:, 0]) / max(float(np.abs(top).max(initial=0.0)), 1e-30))
    return np.min(leads, axis=0)


def _classes(answer: Mapping[str, Array]) -> NDArray[np.int64]:
    """The class of each row in each table, int64 (n, tables)."""
    rows = len(next(iter(answer.values())))
    columns = [np.nan_to_num(table).argmax(axis=1) for table in _tables(answer)]
    return np.stack(columns, axis=1).astype(np.int64) if columns else np.empty((rows, 0), np.int64)


def _finite(answer: Mapping[str, Array]) -> NDArray[np.bool_]:
    floats = [array.reshape(len(array), -1) for array in answer.values() if array.dtype.kind == "f"]
    rows = len(next(iter(answer.values())))
    return np.logical_and.reduce([np.ones(rows, bool), *(np.isfinite(one).all(axis=1) for one in floats)])


def _difference(own: Mapping[str, Array], full: Mapping[str, Array]) -> Lead:
    """The largest change of any float output of each row, as a share of that output's largest value."""
    rows = len(next(iter(own.values())))
    worst = np.zeros(rows)
    for name, array in own.items():
        other = full.get(name)
        if array.dtype.kind != "f" or other is None or other.shape != array.shape or not array.size:
            continue
        change = np.abs(np.nan_to_num(array.astype(np.float64)) - np.nan_to_num(other.astype(np.float64)))
        scale = max(float(np.abs(np.nan_to_num(other)).max()), 1e-30)
        worst = np.maximum(worst, change.reshape(rows, -1).max(axis=1) / scale)
    return worst


def _answer(runner: Runner, inputs: Arrays, *, mixes: bool) -> dict[str, Array]:
    if not _batched(runner):  # a run takes as many as there are, and no fewer
        return runner.run(inputs)
    rows = len(next(iter(inputs.values())))
    step = min(rows, MOST_ROWS) if mixes else 1
    starts = range(0, rows, step)
    runs = [runner.run({name: array[at : at + step] for name, array in inputs.items()}) for at in starts]
    return runs[0] if len(runs) == 1 else {name: np.concatenate([one[name] for one in runs]) for name in runs[0]}


def _tolerance(outputs: Mapping[str, Array], part: float) -> float:
    floats = [golden.largest(array) for array in outputs.values() if array.dtype.kind == "f"]
    return golden.tolerance(np.array(floats), part) if floats else 0.0


def _storable(array: Array) -> Array:
    return array.astype("S") if array.dtype.kind == "O" else array
