"""MNIST: 60,000 + 10,000 handwritten digits, one channel, 28x28 pixels, values 0 to 255; ten classes, four parts.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits" (1998), CC BY-SA 3.0. Not shipped:
`load` takes a folder with `mnist_train.npz` and `mnist_test.npz`, each with `x` uint8 (n, 28, 28) and `y` uint8 (n,).
The published test images stay the test part; whatever of them also occurs in the training images is dropped there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from models.data.samples import Samples, arrays_to_npz, read_arrays
from models.data.splits import Splits, split_by_hash, without
from service.core.contract import Array

NAME = "mnist"
SOURCE = "The MNIST database of handwritten digits, 60,000 training and 10,000 test images"
LICENCE = "CC-BY-SA-3.0"
INPUT = "image"
LABELS = tuple("0123456789")
FILES = ("mnist_train.npz", "mnist_test.npz")
DEVELOPMENT_ROWS, CALIBRATION_ROWS = 5000, 500


class NoData(ValueError):
    """The data set's files are not there, or are not what they should be."""


def load(data: Path | None, cache: Path) -> Splits:
    """The parts training, development, calibration and test; images float32 (n, 1, 28, 28) with values 0..255.

    Args:
        data: the folder with the two files of `FILES`.
        cache: a folder that keeps which row belongs to which part, by the hashes of the files; made if need be.

    Raises:
        NoData: no folder was named, a file is missing, or it holds something else.
    """
    if data is None:
        raise NoData(
            f"mnist is not shipped: name a folder that holds {FILES[0]} and {FILES[1]} with --data (arrays x uint8 "
            "[n, 28, 28] and y uint8 [n]; the images are those of yann.lecun.com/exdb/mnist)."
        )
    train, test = (_read(data / name) for name in FILES)
    rows = _rows(train, test, _cached(data, cache))
    parts = {name: train.take(at) for name, at in rows.items() if name != "overlaps"}
    return Splits({**parts, "test": test}, overlaps_removed=int(rows["overlaps"][0]))


def _read(path: Path) -> Samples:
    if not path.is_file():
        raise NoData(f"mnist wants a file {path.name} in {path.parent}, and there is none.")
    try:
        arrays = read_arrays(path.read_bytes())
        images, labels = arrays["x"], arrays["y"]
    except (ValueError, KeyError, OSError) as error:
        raise NoData(f"{path} is no .npz with the arrays x and y: {error}.") from error
    if images.shape[1:] != (28, 28) or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise NoData(f"{path} holds x {images.dtype} {images.shape} and y {labels.shape}, not x uint8 (n, 28, 28).")
    if labels.dtype.kind not in "iu" or not len(labels) or labels.max() >= len(LABELS) or labels.min() < 0:
        raise NoData(f"{path} holds y {labels.dtype} {labels.shape} that are not digits from 0 to 9.")
    return Samples({INPUT: images[:, np.newaxis].astype(np.float32)}, labels.astype(np.int64))


def _cached(data: Path, cache: Path) -> Path:
    digest = hashlib.sha256(f"{DEVELOPMENT_ROWS} {CALIBRATION_ROWS}".encode())
    for name in FILES:
        digest.update(hashlib.sha256((data / name).read_bytes()).digest())
    return cache / f"{NAME}-{digest.hexdigest()[:16]}.npz"


def _rows(train: Samples, test: Samples, cached: Path) -> dict[str, Array]:
    """The rows of the training file that each part takes, ascending, and under `overlaps` how many it lost."""
    if cached.is_file():
        return read_arrays(cached.read_bytes())
    found = _split(train, test)
    cached.parent.mkdir(parents=True, exist_ok=True)
    beside = cached.with_suffix(".tmp")
    beside.write_bytes(arrays_to_npz(found))
    beside.replace(cached)
    return found


def _split(train: Samples, test: Samples) -> dict[str, Array]:
    numbered = Samples(train.inputs, np.arange(len(train)))  # the labels carry the rows through the cut
    kept, overlaps = without(numbered, test)
    distinct = len(set(kept.row_hashes()))
    held_out = CALIBRATION_ROWS + DEVELOPMENT_ROWS
    sizes = (("calibration", CALIBRATION_ROWS), ("development", DEVELOPMENT_ROWS), ("training", distinct - held_out))
    cut = split_by_hash(kept, sizes, salt=NAME)
    rows = {name: np.sort(part.labels) for name, part in cut.parts.items()}
    return {**rows, "overlaps": np.array([overlaps + cut.overlaps_removed])}
