"""A run in small steps of time: what was due in each, how long it took, and where the server stood still.

Steps go by the planned send time, so that requests which pile up behind a stall are seen where they were due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loadtests.measures.observed import Observed
from loadtests.report.schema import StallPart, StretchPart

STEP_S = 0.1
LEAST_STALL_MS = 100.0
# A slow model under little traffic answers seldom; that is no stall.
LEAST_STALL_MEDIANS = 10.0

Bools = NDArray[np.bool_]


def stretches(block: Observed, origin_s: float) -> Iterator[StretchPart]:
    """The block in steps of `STEP_S`, one stretch for each version that answered in it.

    Args:
        block: as measured.
        origin_s: the moment that counts as 0, on the clock of `Sent.began_s`.
    """
    owners = _owners(block)
    for version in sorted(set(owners.tolist())):
        yield _stretch(block, version, owners == version, origin_s)


def _owners(block: Observed) -> NDArray[np.str_]:
    """The name of whoever answered each request; the block's own label where that was not noted."""
    count = len(block.sent.planned_s)
    answered = block.sent.answered
    if answered is None or len(set(answered[answered >= 0].tolist())) < 2:
        return np.full(count, block.version)
    names = np.array([*block.sent.versions, block.version])
    return names[answered]


def _stretch(block: Observed, version: str, own: Bools, origin_s: float) -> StretchPart:
    planned_s, good = block.sent.planned_s, block.good
    steps = max(1, round(block.lasts_s / STEP_S))
    place = np.clip((planned_s / STEP_S).astype(np.int64), 0, steps - 1)
    latency_ms = block.sent.latency_s * 1e3
    by_step = [latency_ms[own & good & (place == at)] for at in range(steps)]
    begin_s = block.sent.began_s - origin_s
    return StretchPart(
        version=version,
        round=block.round,
        step_s=STEP_S,
        at_s=tuple(round(begin_s + at * STEP_S, 4) for at in range(steps)),
        planned=tuple(np.bincount(place[own], minlength=steps).tolist()),
        answered=tuple(len(one) for one in by_step),
        p50_ms=tuple(_rounded(np.median(one)) if len(one) else None for one in by_step),
        max_ms=tuple(_rounded(one.max()) if len(one) else None for one in by_step),
    )


def stalls(blocks: Sequence[Observed], origin_s: float) -> Iterator[StallPart]:
    """Every time of at least `LEAST_STALL_MS` in which somebody waited and nobody was answered."""
    for block in blocks:
        yield from _stalls(block, origin_s)


def _stalls(block: Observed, origin_s: float) -> Iterator[StallPart]:
    done = np.isfinite(block.sent.done_s)
    if not done.any():
        return
    order = np.argsort(block.sent.done_s[done], kind="stable")
    done_s, planned_s = block.sent.done_s[done][order], block.sent.planned_s[done][order]
    # From when on somebody waited whose answer came at or after each answer.
    since_s = np.minimum.accumulate(planned_s[::-1])[::-1]
    silent_s = done_s - np.maximum(np.concatenate(([0.0], done_s[:-1])), since_s)
    least_ms = max(LEAST_STALL_MS, LEAST_STALL_MEDIANS * float(np.median(done_s - planned_s)) * 1e3)
    for at in np.flatnonzero(silent_s * 1e3 >= least_ms):
        waiting = int((planned_s[at:] < done_s[at]).sum())
        begin_s = block.sent.began_s - origin_s + done_s[at] - silent_s[at]
        yield StallPart(
            version=block.version,
            at_s=round(float(begin_s), 4),
            lasts_ms=_rounded(silent_s[at] * 1e3),
            waiting=waiting,
        )


def _rounded(value: float) -> float:
    """Microseconds are as fine as anything here was measured."""
    return round(float(value), 3)
