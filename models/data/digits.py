"""The digits dataset: 1,797 images of one channel, 8x8 pixels, values 0 to 16; ten classes, four disjoint parts.

Source: UCI Machine Learning Repository, Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998),
its test part, CC BY 4.0, as scikit-learn ships it. The parts lie beside this file as digits_<part>.npz, so that only
making them anew (`python -m models.data.digits`) needs scikit-learn.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.data.samples import Samples, from_npz, to_npz
from models.data.splits import Splits, split_by_hash

NAME = "digits"
SOURCE = "UCI Optical Recognition of Handwritten Digits, test part, as scikit-learn's load_digits gives it"
LICENCE = "CC-BY-4.0"
INPUT = "image"
LABELS = tuple("0123456789")
SIZES = (("calibration", 100), ("training", 900), ("development", 197), ("test", 600))


def load() -> Samples:
    """All 1,797 samples as scikit-learn gives them: `image` float32 (n, 8, 8) with values 0..16, labels 0..9.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    # Only this function needs the workshop's extra.
    from sklearn.datasets import load_digits  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    bunch = load_digits()
    return Samples({INPUT: bunch.images.astype(np.float32)}, bunch.target.astype(np.int64))


def split(samples: Samples) -> Splits:
    """Cuts what `load` gives into the four parts of `SIZES`, whose images are (n, 1, 8, 8).

    The cut comes first: the axis of the channel, which networks want, moves no image into another part.
    """
    cut = split_by_hash(samples, SIZES, salt=NAME)
    return replace(cut, parts={name: with_channel(part) for name, part in cut.parts.items()})


def with_channel(samples: Samples) -> Samples:
    """The same samples in the same order, their images (n, 1, 8, 8) instead of (n, 8, 8)."""
    return Samples({INPUT: samples.inputs[INPUT][:, np.newaxis]}, samples.labels)


def part(name: str) -> Samples:
    """One of the four parts, `image` (n, 1, 8, 8), from the file that is kept with the code."""
    return from_npz(_path(name).read_bytes())


def parts() -> dict[str, Samples]:
    """All four, by name."""
    return {name: part(name) for name, _ in SIZES}


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"{NAME}_{name}.npz")


if __name__ == "__main__":
    for part_name, samples in split(load()).parts.items():
        _path(part_name).write_bytes(to_npz(samples))
