"""What all sets of texts share: parts that have no row in common, and a cache of their encoded form.

A text counts as seen elsewhere when it gives the same token ids, which is what the model sees of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.data.samples import Samples, from_npz, to_npz
from models.data.splits import Splits, split_by_hash, without

TRAINING, DEVELOPMENT, CALIBRATION, TEST = "training", "development", "calibration", "test"


class BadData(ValueError):
    """A file of the data is missing or not in its form; the message names it."""


@dataclass(frozen=True, slots=True)
class Published:
    """A set as its publishers split it; `development` is None where they gave none."""

    training: Samples
    test: Samples
    development: Samples | None = None


def read(folder: Path | None, names: tuple[str, ...], what: str) -> dict[str, bytes]:
    """The content of these files of the data's folder.

    Raises:
        BadData: no folder was given, or a file is not there.
    """
    if folder is None:
        raise BadData(f"{what} does not come with the workshop: name its folder, with {', '.join(names)}.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BadData(f"The folder of {what}, {folder}, lacks {', '.join(missing)}.")
    return {name: (folder / name).read_bytes() for name in names}


def divide(published: Published, *, calibration: int, development: int, salt: str) -> Splits:
    """Disjoint parts: the published test set untouched, the others without what is held out.

    Args:
        published: the set.
        calibration: rows that are cut from the training side.
        development: likewise, where the publishers gave no development set; theirs is taken otherwise.
        salt: of the hashes by which rows are cut.
    """
    training, removed = without(published.training, published.test)
    parts = {TEST: published.test}
    if published.development is not None:
        held, more = _apart(published.development, published.test)
        training, overlap = without(training, held)
        parts[DEVELOPMENT], removed, development = held, removed + more + overlap, 0
    distinct = len(set(training.row_hashes()))
    sizes = [(CALIBRATION, calibration), (DEVELOPMENT, development)]
    rest = distinct - calibration - development
    cut = split_by_hash(training, [*sizes, (TRAINING, rest)], salt=salt)
    kept = {name: part for name, part in cut.parts.items() if len(part)}
    return Splits(parts | kept, removed + cut.overlaps_removed)


def cached(cache: Path, name: str, depends_on: Mapping[str, bytes], make: Callable[[], Splits]) -> Splits:
    """What `make` gives, from the cache's folder if it was made there of the same bytes."""
    digest = hashlib.sha256()
    for key, data in sorted(depends_on.items()):
        digest.update(f"{key} {len(data)}\n".encode() + data)
    folder = cache / f"{name}-{digest.hexdigest()[:16]}"
    counted = folder / "overlaps_removed"
    if not counted.exists():
        splits = make()
        folder.mkdir(parents=True, exist_ok=True)
        for part, samples in splits.parts.items():
            (folder / f"{part}.npz").write_bytes(to_npz(samples))
        # Last, and only renamed into place: a folder without it is an interrupted one, and is made anew.
        beside = counted.with_suffix(".tmp")
        beside.write_text(str(splits.overlaps_removed))
        beside.replace(counted)
        return splits
    parts = {path.stem: from_npz(path.read_bytes()) for path in sorted(folder.glob("*.npz"))}
    return Splits(parts, int(counted.read_text()))


def _apart(samples: Samples, held_out: Samples) -> tuple[Samples, int]:
    """The distinct samples that are not held out, in order, and how many were left out."""
    first: dict[str, int] = {}
    for row, content in enumerate(samples.row_hashes()):
        first.setdefault(content, row)
    kept, _ = without(samples.take(first.values()), held_out)
    return kept, len(samples) - len(kept)
