"""Splits by content: which part a sample belongs to follows from its hash, not from its place in a file.

The same samples in any order give the same parts, equal samples never end up in two parts, and a published test set
may be given that the training side must not touch. Overlaps are removed from the training side and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.data.samples import Samples


@dataclass(frozen=True, slots=True)
class Splits:
    """Disjoint parts by name; `overlaps_removed` counts the samples that were dropped as duplicates."""

    parts: Mapping[str, Samples]
    overlaps_removed: int


def split_by_hash(samples: Samples, sizes: Sequence[tuple[str, int]], *, salt: str) -> Splits:
    """Cuts distinct samples, in the order of their salted hashes, into parts of the given sizes.

    Args:
        samples: the whole dataset. Of equal inputs the first is kept.
        sizes: (name, n) of each part, in the order in which they are cut.
        salt: part of each hash, so that two datasets of one kind need not be cut alike.

    Raises:
        ValueError: there are fewer distinct samples than the sizes ask for.
    """
    distinct: dict[str, int] = {}
    for row, content in enumerate(samples.row_hashes()):
        distinct.setdefault(hashlib.sha256(f"{salt}{content}".encode()).hexdigest(), row)
    wanted = sum(n for _, n in sizes)
    if wanted > len(distinct):
        raise ValueError(f"{wanted} samples are asked for, and only {len(distinct)} distinct ones are there.")
    rows = [distinct[key] for key in sorted(distinct)]
    parts, start = {}, 0
    for name, n in sizes:
        parts[name] = samples.take(rows[start : start + n])
        start += n
    return Splits(parts, overlaps_removed=len(samples) - len(distinct))


def without(samples: Samples, held_out: Samples) -> tuple[Samples, int]:
    """`samples` less those whose inputs also occur in `held_out`, and how many these were."""
    forbidden = set(held_out.row_hashes())
    kept = [row for row, content in enumerate(samples.row_hashes()) if content not in forbidden]
    return samples.take(kept), len(samples) - len(kept)
