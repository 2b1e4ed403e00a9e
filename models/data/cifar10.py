"""CIFAR-10: 50,000 + 10,000 photographs, three channels, 32x32 pixels, values 0 to 255; ten classes, four parts.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), here in its JPEG form, which is
lossy: figures on it are not those of papers. Not shipped: `load` takes a folder with the two files of `FILES`. The
published test images stay the test part; whatever of them also occurs in the training images is dropped there.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.data.samples import Samples, read_arrays
from models.data.splits import Splits, split_by_hash, without

NAME = "cifar10-jpeg"
SOURCE = "CIFAR-10 as JPEG files of quality 75, 50,000 training and 10,000 test images"
LICENCE = "no licence stated, for research"
INPUT = "image"
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = ("cifar10_train_jpeg.npz", "cifar10_test_jpeg.npz")
CALIBRATION_ROWS, DEVELOPMENT_ROWS = 500, 5000
SIDE_PIXELS = 32


class NoData(ValueError):
    """The data set's files are not there, or are not what they should be."""


def load(data: Path | None, cache: Path) -> Splits:
    """The parts training, development, calibration and test; images float32 (n, 3, 32, 32), RGB with values 0..255.

    Args:
        data: a folder that holds the two files of `FILES`, or has a folder that does.
        cache: not needed: the 60,000 images are decoded in a few seconds.

    Raises:
        NoData: no folder was named, a file is missing, or it holds something else.
    """
    train, test = (read(find(data, name)) for name in FILES)
    return cut(train, test, {"calibration": CALIBRATION_ROWS, "development": DEVELOPMENT_ROWS})


def find(data: Path | None, name: str) -> Path:
    """A file of this name in the folder, or in one of the folders that lie in it.

    Raises:
        NoData: no folder was named, or there is no such file.
    """
    if data is None:
        raise NoData(f"cifar10 is not shipped: name a folder that holds {', '.join(FILES)} with --data.")
    found = next(iter([path for path in (data / name, *sorted(data.glob(f"*/{name}"))) if path.is_file()]), None)
    if found is None:
        raise NoData(f"cifar10 wants a file {name} in {data} or in a folder of it, and there is none.")
    return found


def read(path: Path, every: int = 1) -> Samples:
    """The images of one file, decoded.

    Args:
        path: a .npz with `jpeg` uint8, all images' bytes in a row; `offsets` int64 (n + 1,), where each one begins
            and ends there; `y` uint8 (n,), classes 0..9.
        every: 1 takes all images, 50 every fiftieth; a file may hold one class after the other.

    Raises:
        NoData: the file is none of this kind, or an image in it is none of this size.
    """
    try:
        arrays = read_arrays(path.read_bytes())
        data, offsets, labels = arrays["jpeg"].tobytes(), arrays["offsets"], arrays["y"]
    except (ValueError, KeyError, OSError) as error:
        raise NoData(f"{path} is no .npz with the arrays jpeg, offsets and y: {error}.") from error
    whole = offsets.dtype.kind in "iu" and labels.dtype.kind in "iu"
    if not whole or len(offsets) != len(labels) + 1 or not len(labels) or not 0 <= labels.min() <= labels.max() < 10:
        raise NoData(f"{path} holds {len(offsets)} offsets and {len(labels)} labels, which do not fit ten classes.")
    rows = range(0, len(labels), every)
    images = np.empty((len(rows), 3, SIDE_PIXELS, SIDE_PIXELS), np.float32)
    for at, row in enumerate(rows):
        pixels = _decoded(data[offsets[row] : offsets[row + 1]], f"{path}, image {row}")
        images[at] = pixels.transpose(2, 0, 1)
    return Samples({INPUT: images}, labels[::every].astype(np.int64))


def cut(train: Samples, test: Samples, held_out: Mapping[str, int]) -> Splits:
    """The parts: `held_out` rows of the training images by name, by hash; the rest under training; and the test.

    Raises:
        ValueError: there are fewer training images than `held_out` asks for.
    """
    kept, overlaps = without(train, test)
    rest = len(set(kept.row_hashes())) - sum(held_out.values())
    parts = split_by_hash(kept, (*held_out.items(), ("training", rest)), salt=NAME)
    return Splits({**parts.parts, "test": test}, overlaps_removed=overlaps + parts.overlaps_removed)


def _decoded(jpeg: bytes, what: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(jpeg)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise NoData(f"{what} is no JPEG: {error}.") from error
    if pixels.shape != (SIDE_PIXELS, SIDE_PIXELS, 3):
        raise NoData(f"{what} is of {pixels.shape[1]}x{pixels.shape[0]} pixels, not of {SIDE_PIXELS}x{SIDE_PIXELS}.")
    return pixels
