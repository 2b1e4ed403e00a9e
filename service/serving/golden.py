"""Does a version still answer its recorded inputs as recorded? Run at every load, and before a swap makes it active.

Where the card knows this provider and class of CPU its tolerance decides, with the same class on every row where it
says so. On hardware the card does not know: the same class, and a relative L2 distance of at most 0.05.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from service.core.contract import Array, Arrays
from service.core.errors import Refused
from service.repository.card import Card
from service.repository.golden import Golden
from service.serving.gate import Machine

UNKNOWN_HARDWARE_L2 = 0.05
_CLASSIFIER_RANK = 2


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """How near the answers came: `n` rows, the largest absolute difference, and whether the card knows this machine."""

    n: int
    max_abs: float
    known_here: bool


def chunks(golden: Golden, chunk_rows: int | None) -> list[dict[str, Array]]:
    """The golden inputs in runs of at most `chunk_rows`; as one run where it is None."""
    step = chunk_rows or max(golden.rows, 1)
    return [
        {name: array[start : start + step] for name, array in golden.inputs.items()}
        for start in range(0, max(golden.rows, 1), step)
    ]


def run_golden(run: Callable[[Arrays], dict[str, Array]], golden: Golden, chunk_rows: int | None) -> dict[str, Array]:
    """Runs every golden row and returns the outputs, whole."""
    return join(golden, [run(chunk) for chunk in chunks(golden, chunk_rows)])


def join(golden: Golden, answers: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """The outputs of several runs as of one."""
    if len(answers) == 1:
        return answers[0]
    names = golden.outputs.keys() & answers[0].keys()
    return {name: np.concatenate([answer[name] for answer in answers]) for name in names}


def hold(golden: Golden, answered: Arrays, card: Card | None, machine: Machine) -> GoldenReport:
    """Holds the answers against the recorded outputs.

    Raises:
        Refused: which output is off, by how much, and what was allowed.
    """
    tolerance = card.golden_tolerance(machine.provider, machine.cpu_class) if card else None
    top1 = card.golden.top1 if card and card.golden else tolerance is None
    worst = 0.0
    for name, expected in golden.outputs.items():
        found = answered.get(name)
        if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
            raise _mismatch(name, "another shape or datatype than recorded")
        worst = max(worst, _check_output(name, expected, found, tolerance, top1))
    return GoldenReport(golden.rows, worst, tolerance is not None)


def _check_output(name: str, expected: Array, found: Array, tolerance: float | None, top1: bool) -> float:
    if not np.issubdtype(expected.dtype, np.floating):
        if not np.array_equal(expected, found):
            raise _mismatch(name, "other values than recorded")
        return 0.0
    wide, got = expected.astype(np.float64), found.astype(np.float64)
    both_finite = np.isfinite(wide) & np.isfinite(got)
    if not np.array_equal(wide[~both_finite], got[~both_finite], equal_nan=True):
        raise _mismatch(name, "NaN or infinity where none was recorded")
    if top1 and expected.ndim == _CLASSIFIER_RANK and not np.array_equal(wide.argmax(-1), got.argmax(-1)):
        raise _mismatch(name, "another class than recorded on at least one row")
    difference = np.subtract(wide, got, out=np.zeros_like(wide), where=both_finite)
    largest = float(np.abs(difference).max(initial=0.0))
    if tolerance is not None:
        if largest > tolerance:
            raise _mismatch(name, f"an answer {largest:.3g} away from the recorded one, more than {tolerance:.3g}")
        return largest
    norm = float(np.linalg.norm(np.where(both_finite, wide, 0.0)))
    if float(np.linalg.norm(difference)) > UNKNOWN_HARDWARE_L2 * max(norm, float(np.finfo(np.float32).tiny)):
        raise _mismatch(name, f"answers further than {UNKNOWN_HARDWARE_L2:g} (relative L2) from the recorded ones")
    return largest


def _mismatch(name: str, what: str) -> Refused:
    sentence = f"the golden cases do not hold: output '{name}' has {what}"
    return Refused(sentence, {"golden": sentence})
