"""Gives a user's files their roles: calibration, development, test; disjoint by content, whatever overlaps is counted.

Without a development file, a part of the test file becomes one: by hash, so that neither order nor chance decides,
and equal inputs stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from models.data.samples import Samples
from models.data.splits import without

DEVELOPMENT_SHARE = 0.3
_SALT = "development"


@dataclass(frozen=True, slots=True)
class Roles:
    """Disjoint sets; `overlaps_removed` counts the samples that left calibration or development for it."""

    calibration: Samples | None
    development: Samples | None
    test: Samples | None
    overlaps_removed: int


def assign(calibration: Samples | None, development: Samples | None, test: Samples | None) -> Roles:
    """Makes the sets disjoint: the test set keeps every sample, the calibration set loses to both others.

    Without a development set, `DEVELOPMENT_SHARE` of the test set becomes it.
    """
    if development is None and test is not None:
        development, test = cut(test, DEVELOPMENT_SHARE)
    removed = 0
    if development is not None and test is not None:
        development, n = without(development, test)
        removed += n
    for held_out in (test, development):
        if calibration is not None and held_out is not None:
            calibration, n = without(calibration, held_out)
            removed += n
    return Roles(calibration, development, test, removed)


def judged(test: Samples, sha256s: Collection[str]) -> Samples | None:
    """The rows of a test file that have one of these hashes: all, or those that are not development; or None."""
    parts = (test, cut(test, DEVELOPMENT_SHARE)[1])
    return next((one for one in parts if len(one) and one.sha256() in sha256s), None)


def cut(samples: Samples, share: float) -> tuple[Samples, Samples]:
    """Two parts, the first with this share of the distinct samples, each in the order of the file."""
    contents = [hashlib.sha256(f"{_SALT}{content}".encode()).hexdigest() for content in samples.row_hashes()]
    distinct = sorted(set(contents))
    first = set(distinct[: round(share * len(distinct))])
    rows = range(len(samples))
    return (
        samples.take(row for row in rows if contents[row] in first),
        samples.take(row for row in rows if contents[row] not in first),
    )
