"""MNIST's loader: parts by content, no test image on the training side, prepared once, and clear words without data.

The files are made up here, in MNIST's form; the real ones are read where TEST_DATA names them.
"""

from pathlib import Path

import numpy as np
import pytest

from models.data import mnist
from models.data.mnist import NoData, load
from models.data.splits import Splits
from tests.support.real_data import real_data

TRAINING, TEST = 5620, 30


def write(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez_compressed(folder / name, x=images, y=labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,620 images of which 20 repeat others and 10 are in the test set too."""
    made = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (TRAINING, 28, 28), dtype=np.uint8)
    test = rng.integers(0, 256, (TEST, 28, 28), dtype=np.uint8)
    images[:10], images[10:30] = test[:10], images[40:60]
    write(made, "mnist_train.npz", images, rng.integers(0, 10, TRAINING, dtype=np.uint8))
    write(made, "mnist_test.npz", test, rng.integers(0, 10, TEST, dtype=np.uint8))
    return made


@pytest.fixture(scope="module")
def splits(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return load(folder, tmp_path_factory.mktemp("cache"))


def test_the_parts_are_of_their_sizes_and_what_was_dropped_is_counted(splits: Splits) -> None:
    sizes = {name: len(part) for name, part in splits.parts.items()}
    assert sizes == {"training": 90, "development": 5000, "calibration": 500, "test": TEST}
    assert splits.overlaps_removed == 30


def test_no_image_is_in_two_parts(splits: Splits) -> None:
    hashes = [content for part in splits.parts.values() for content in part.row_hashes()]
    assert len(set(hashes)) == len(hashes)


def test_images_are_raw_pixels_with_their_own_labels(splits: Splits, folder: Path) -> None:
    with np.load(folder / "mnist_train.npz") as train:
        pairs = reversed(list(zip(train["x"], train["y"], strict=True)))  # of equal images the first one's label stands
        known = {image.tobytes(): int(label) for image, label in pairs}
    for name in ("training", "calibration"):
        part = splits.parts[name]
        images = part.inputs[mnist.INPUT]
        assert (images.dtype, images.shape[1:]) == (np.float32, (1, 28, 28))
        for image, label in zip(images, part.labels, strict=True):
            assert known[image.astype(np.uint8).tobytes()] == label


def test_a_second_load_gives_the_same_from_what_was_kept(splits: Splits, folder: Path, tmp_path: Path) -> None:
    first = load(folder, tmp_path)
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    again = load(folder, tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    for name, part in splits.parts.items():
        assert first.parts[name].sha256() == again.parts[name].sha256() == part.sha256()
    assert again.overlaps_removed == splits.overlaps_removed


def test_other_files_are_prepared_anew(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    rng = np.random.default_rng(2)
    write(other, "mnist_train.npz", rng.integers(0, 256, (5600, 28, 28), dtype=np.uint8), np.zeros(5600, np.uint8))
    write(other, "mnist_test.npz", rng.integers(0, 256, (5, 28, 28), dtype=np.uint8), np.zeros(5, np.uint8))
    load(folder, tmp_path / "cache")
    assert len(load(other, tmp_path / "cache").parts["test"]) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_without_a_folder_it_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"name a folder that holds mnist_train\.npz and mnist_test\.npz with --data"):
        load(None, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"wants a file mnist_train\.npz in .*, and there is none"):
        load(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((5, 28, 28), np.float32), "y": np.zeros(5, np.uint8)}, "not x uint8"),
        ({"x": np.zeros((5, 28, 27), np.uint8), "y": np.zeros(5, np.uint8)}, "not x uint8"),
        ({"x": np.zeros((5, 28, 28), np.uint8), "y": np.zeros(4, np.uint8)}, "not x uint8"),
        ({"x": np.zeros((5, 28, 28), np.uint8)}, "no .npz with the arrays x and y"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "mnist_train.npz", **arrays)
    with pytest.raises(NoData, match=words):
        load(tmp_path, tmp_path / "cache")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist_train.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(NoData, match=r"no \.npz"):
        load(tmp_path, tmp_path / "cache")


def test_the_real_files(tmp_path: Path) -> None:
    splits = load(real_data("mnist"), tmp_path)
    sizes = {name: len(part) for name, part in splits.parts.items()}
    assert sizes == {"training": 54_500, "development": 5000, "calibration": 500, "test": 10_000}
    assert splits.overlaps_removed == 0


@pytest.mark.parametrize("labels", [np.array(["a"] * 3), np.array([0, 1, 10]), np.array([0, 1, -1])])
def test_labels_that_are_no_digits_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    for name in mnist.FILES:
        write(tmp_path, name, np.zeros((3, 28, 28), np.uint8), labels)
    with pytest.raises(NoData, match="are not digits from 0 to 9"):
        load(tmp_path, tmp_path)
