"""Proves that filling rows up to the longest of a batch leaves their answers as they are, by running them both ways.

The rows are the version's own trial rows in several lengths: as they are, without anything that looks like filler, and
with filler of their own at the end, as clients send it that pad themselves. An input of which a row may not be all
filler, such as a mask of nothing but zeros, is found out too: such rows are left out of padding, see `Pads.guarded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from service.batching.padding import Padded, Pads
from service.core.contract import Array, Arrays
from service.core.errors import RetortError, RunFailed, Unavailable
from service.serving.batchability import FLOAT_TOLERANCE, QUANTISED_TOLERANCE, relative_change
from service.serving.padding import Padding
from service.serving.rows import Run, TrialRows

_LENGTHS = (13, 1, 6, 29, 2)  # of made-up rows; recorded ones keep to shares of their own length


def prove(run: Run, pads: Pads, rows: TrialRows, *, quantised: bool) -> Padding:
    """Runs rows of several lengths alone and together.

    Args:
        run: one run of the version, which mixes rows of equal shapes.
        pads: as declared.
        rows: the version's trial rows.
        quantised: whether the graph computes in integers, or answers in half precision.

    Raises:
        Unavailable: a run ended for no reason of its rows.
    """
    tolerance = QUANTISED_TOLERANCE if quantised else FLOAT_TOLERANCE
    given = [row for row in _in_lengths(pads, rows) if _runs(run, row)]
    if len({_length(pads, row) for row in given}) < 2:  # noqa: PLR2004 - two lengths are what is compared
        return Padding(None, "its trial rows run in one length only, so that nothing can be compared")
    full = [_without_filler(pads, row, slice(None)) for row in given]
    trials = [given if rows.source == "golden" else [_without_filler(pads, row, slice(1)) for row in given]]
    trials += [full, [_with_filled_end(pads, row) for row in full]]
    try:
        worst = max(_largest_change(run, pads, trial) for trial in trials)
    except Unavailable:  # says nothing about the rows
        raise
    except RetortError as error:
        return Padding(None, f"rows of different lengths do not run together as they do alone: {error}")
    if not worst <= tolerance:
        return Padding(None, _sentence(worst, tolerance))
    guarded = tuple(name for name in pads.fillers if not _may_be_all_filler(run, pads, full, name, tolerance))
    return Padding(replace(pads, guarded=guarded))


def _sentence(worst: float, tolerance: float) -> str:
    return (
        f"a row's answer changed by {worst:.2g} of its largest output when it was filled up to a longer row's length, "
        f"more than the {tolerance:g} that padding allows: it has no mask, or does not heed it"
    )


def _in_lengths(pads: Pads, rows: TrialRows) -> list[dict[str, Array]]:
    """A row in each of some lengths, all different where there is room."""
    size = next(iter(_row(rows, 0, pads).values())).shape[pads.axis]
    recorded = [size, max(1, size // 3), max(1, size // 2), max(1, size - 1), 1]
    lengths = recorded if rows.source == "golden" else _LENGTHS
    found: list[dict[str, Array]] = []
    for index, length in enumerate(lengths):
        row = rows.take([index])
        for name in pads.fillers:
            row[name] = row[name].take(np.arange(length) % size, axis=pads.axis)
        found.append(row)
    return found


def _row(rows: TrialRows, index: int, pads: Pads) -> dict[str, Array]:
    return {name: array for name, array in rows.take([index]).items() if name in pads.fillers}


def _length(pads: Pads, row: Arrays) -> int:
    return int(row[next(iter(pads.fillers))].shape[pads.axis])


def _runs(run: Run, row: Arrays) -> bool:
    try:
        run(row)
    except Unavailable:
        raise
    except RetortError:
        return False
    return True


def _without_filler(pads: Pads, row: Arrays, where: slice) -> dict[str, Array]:
    """The row with another whole number in place of each filler, at `where` on the padded axis."""
    changed = dict(row)
    for name, filler in pads.fillers.items():
        array = row[name].copy()
        if array.dtype.kind != "f":
            part = np.moveaxis(array, pads.axis, 0)[where]
            part[part == filler] = 1 if filler == 0 else 0
        changed[name] = array
    return changed


def _with_filled_end(pads: Pads, row: Arrays) -> dict[str, Array]:
    """The row with filler of its own in its last third."""
    changed, length = dict(row), _length(pads, row)
    for name, filler in pads.fillers.items():
        changed[name] = row[name].copy()
        np.moveaxis(changed[name], pads.axis, 0)[length - length // 3 :] = filler
    return changed


def _may_be_all_filler(run: Run, pads: Pads, rows: Sequence[Arrays], name: str, tolerance: float) -> bool:
    empty = [{**row, name: np.full_like(row[name], pads.fillers[name])} for row in rows]
    try:
        return _largest_change(run, pads, empty) <= tolerance
    except Unavailable:
        raise
    except RetortError:
        return False


def _largest_change(run: Run, pads: Pads, rows: Sequence[Arrays]) -> float:
    """The largest change of any row's answer between alone and with the others, in two orders and in pairs."""
    alone = [run(row) for row in rows]
    longest = max(range(len(rows)), key=lambda index: _length(pads, rows[index]))
    everyone = list(range(len(rows)))
    batches = [everyone, everyone[::-1], *([index, longest] for index in everyone if index != longest)]
    return max(_change(run, pads, [rows[i] for i in batch], [alone[i] for i in batch]) for batch in batches)


def _change(run: Run, pads: Pads, rows: Sequence[Arrays], alone: Sequence[Arrays]) -> float:
    padded = Padded(pads)
    together = padded.cut(run(padded.fill(rows)), rows)
    worst = 0.0
    for expected, found in zip(alone, together, strict=True):
        for name, array in found.items():
            if array.shape != expected[name].shape:
                shapes = f"{list(array.shape)[:8]} beside longer rows and {list(expected[name].shape)[:8]} alone"
                raise RunFailed(f"output '{name}' has shape {shapes}")
            worst = max(worst, relative_change(expected[name], array))
    return worst
