"""From what was measured to what it means: figures, differences, sentences, requirements, and whether the run is valid.

Pure functions of blocks; nothing here measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np

from loadtests.advice import Case
from loadtests.comparison import Contender
from loadtests.generator.block import EXHAUSTED
from loadtests.knees import rate_ratio
from loadtests.measures.agreement import Agreement
from loadtests.measures.observed import Observed
from loadtests.measures.summary import Summary, summarise
from loadtests.outcome import Asked, Entry, Knee
from loadtests.requirements import Requirement
from loadtests.verdict import MOST_LAG_MS, Versus, versus

# A block of which more was never taken up by the generator, or of which the server let less than this connect.
MOST_UNSENT = 0.01

_SHORT = " Other work kept the generator from them, or it had no descriptor or port left (ulimit -n)."

Blocks = Mapping[str, Sequence[Observed]]


def summaries(blocks: Blocks, limit_ms: float | None, *, seed: int) -> dict[str, Summary]:
    """Label -> figures, of every version with a whole round."""
    return {label: summarise(label, own, limit_ms=limit_ms, seed=seed) for label, own in blocks.items() if own}


def differences(
    entries: Sequence[Entry], contenders: Sequence[Contender], blocks: Blocks, knees: Mapping[str, Knee]
) -> tuple[Versus, ...]:
    """Each version held against its full one; those without a whole round are left out."""
    named = {one.label: one for one in contenders}
    found = []
    for entry in entries:
        if entry.full is None or not blocks.get(entry.label) or not blocks.get(entry.full):
            continue
        own, full = blocks[entry.label], blocks[entry.full]
        classified = entry.card.task in (None, "classification")
        agreed = agreement(named[entry.label], own, named[entry.full], full) if classified else None
        rate = rate_ratio(knees.get(entry.label), knees.get(entry.full))
        found.append(versus(own, full, agreement=agreed, rate=rate))
    return tuple(found)


def case_of(found: Versus, entries: Sequence[Entry], figures: Mapping[str, Summary], *, valid: bool) -> Case:
    """All that is known of the two, for the advice."""
    cards = {entry.label: entry.card for entry in entries}
    own, full = found.version, found.full
    return Case(found, figures[own], figures[full], cards[own], cards[full], valid)


def agreement(
    own: Contender, own_blocks: Sequence[Observed], full: Contender, full_blocks: Sequence[Observed]
) -> Agreement | None:
    """On how many rows both named the same class, by what was seen; None where no class was read."""
    one, other = classes(own, own_blocks), classes(full, full_blocks)
    known = (one >= 0) & (other >= 0)
    return Agreement(int((one == other)[known].sum()), int(known.sum())) if known.any() else None


def classes(one: Contender, blocks: Sequence[Observed]) -> np.ndarray:
    """The class that a version named for each row, int64 (rows,): under load, else when it was asked alone; or -1."""
    found = np.full(len(one.pool.rows), -1, np.int64)
    reference = (one.pool.rows.expected or {}).get(one.pool.output)
    if reference is not None and reference.dtype.kind in "fiu" and reference.size:
        found[:] = reference.reshape(len(reference), -1).argmax(axis=1)
    for block in blocks:
        seen = block.sent.classes >= 0
        found[block.sent.rows[seen]] = block.sent.classes[seen]
    return found


def held(
    requirements: Sequence[Requirement],
    entries: Sequence[Entry],
    figures: Mapping[str, Summary],
    found: Sequence[Versus],
) -> tuple[Asked, ...]:
    """Each requirement asked of every variant; of every version where none is held against another."""
    asked_of = [entry for entry in entries if entry.full is not None] or list(entries)
    against = {one.version: one for one in found}
    outcomes = []
    for entry in asked_of:
        own = figures.get(entry.label)
        for wanted in requirements:
            met, seen = (False, "not measured") if own is None else wanted.outcome(own, against.get(entry.label))
            outcomes.append(Asked(wanted.text, entry.label, met, seen))
    return tuple(outcomes)


def problems(figures: Mapping[str, Summary], blocks: Blocks) -> tuple[str, ...]:
    """Why the figures do not mean what they say, a sentence each; empty where they do."""
    found = []
    for label, summary in figures.items():
        if summary.lag_p99_ms > MOST_LAG_MS:
            found.append(
                f"The generator came {summary.lag_p99_ms:.1f} ms late at p99 to the requests of {label}; at most "
                f"{MOST_LAG_MS:g} ms are allowed. Give it a core of its own (--cores), or ask for a lower rate."
            )
        never = sum(_never_offered(block) for block in blocks[label])
        if never > MOST_UNSENT * summary.requests:
            found.append(f"{never} of the {summary.requests} requests to {label} could not be offered.{_SHORT}")
        if gone := len(list(takewhile(lambda block: block.reached_nobody, reversed(blocks[label])))):
            found.append(f"No request reached {label} in the last {gone} of {len(blocks[label])} rounds.")
    return tuple(found)


def _never_offered(block: Observed) -> int:
    return int((np.isnan(block.sent.sent_s) | (block.sent.status == EXHAUSTED)).sum())
