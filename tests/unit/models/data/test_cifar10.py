"""CIFAR-10 as JPEG: decoded into pixels, cut by hash, the test images kept apart, and bad files named."""

import io
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="pillow comes with the workshop extra")

from models.data import cifar10  # noqa: E402
from models.data.cifar10 import FILES, INPUT, NoData  # noqa: E402
from tests.support.real_data import real_data  # noqa: E402


def _picture(seed: int) -> np.ndarray:
    """32x32 pixels, smooth, so that JPEG keeps them nearly."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(corners).resize((32, 32), Image.Resampling.BILINEAR))


def _jpeg(pixels: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=95)
    return buffer.getvalue()


def write(path: Path, files: list[bytes], labels: list[int]) -> Path:
    ends = np.cumsum([0, *(len(one) for one in files)])
    data = np.frombuffer(b"".join(files), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, jpeg=data, offsets=ends.astype(np.int64), y=np.array(labels, np.uint8))
    return path


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [_picture(seed) for seed in range(40)]


def test_pixels_come_as_channels_rows_columns_with_values_as_stored(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    path = write(tmp_path / "some.npz", [_jpeg(one) for one in pictures], [row % 10 for row in range(40)])
    samples = cifar10.read(path)
    images = samples.inputs[INPUT]
    assert (images.dtype, images.shape) == (np.float32, (40, 3, 32, 32))
    expected = np.stack(pictures).astype(np.float32).transpose(0, 3, 1, 2)
    assert np.abs(images - expected).mean() < 3
    assert np.abs(images[:, ::-1] - expected).mean() > 10, "negative control: BGR would be told from RGB"
    assert samples.labels.tolist() == [row % 10 for row in range(40)]


def test_every_other_image_alone_is_decoded(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    files = [_jpeg(pictures[0]), b"no picture", _jpeg(pictures[1])]
    path = write(tmp_path / "some.npz", files, [1, 2, 3])
    assert cifar10.read(path, every=2).labels.tolist() == [1, 3]
    with pytest.raises(NoData, match="image 1 is no JPEG"):
        cifar10.read(path)


def test_the_parts_are_disjoint_and_test_images_are_taken_out_of_training(
    tmp_path: Path, pictures: list[np.ndarray]
) -> None:
    files = [_jpeg(one) for one in pictures]
    train = cifar10.read(write(tmp_path / "a.npz", [*files[:30], files[0]], [0] * 31))
    test = cifar10.read(write(tmp_path / "b.npz", files[28:], [1] * 12))
    splits = cifar10.cut(train, test, {"calibration": 4, "development": 6})
    assert {name: len(part) for name, part in splits.parts.items()} == {
        "calibration": 4,
        "development": 6,
        "training": 18,
        "test": 12,
    }
    assert splits.overlaps_removed == 3
    hashes = [one for part in splits.parts.values() for one in part.row_hashes()]
    assert len(hashes) == len(set(hashes)) == 40


@pytest.mark.parametrize("below", [".", "cifar10"])
def test_files_are_found_in_the_folder_and_in_one_of_its_folders(tmp_path: Path, below: str) -> None:
    path = write(tmp_path / below / FILES[0], [_jpeg(_picture(0))], [0])
    assert cifar10.find(tmp_path, FILES[0]).samefile(path)


def test_no_folder_and_no_file_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(NoData, match=r"name a folder that holds cifar10_train_jpeg\.npz"):
        cifar10.load(None, tmp_path)
    with pytest.raises(NoData, match=r"wants a file cifar10_train_jpeg\.npz in .* there is none"):
        cifar10.load(tmp_path, tmp_path)


def test_a_file_of_another_kind_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(NoData, match=r"is no \.npz with the arrays jpeg, offsets and y"):
        cifar10.read(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(NoData, match=r"is no \.npz with the arrays jpeg, offsets and y"):
        cifar10.read(path)


def test_images_of_another_size_and_labels_of_another_set_are_told_of(tmp_path: Path) -> None:
    large = _jpeg(np.zeros((40, 64, 3), np.uint8))
    with pytest.raises(NoData, match="image 0 is of 64x40 pixels, not of 32x32"):
        cifar10.read(write(tmp_path / "large.npz", [large], [0]))
    with pytest.raises(NoData, match="do not fit ten classes"):
        cifar10.read(write(tmp_path / "labels.npz", [_jpeg(_picture(0))], [10]))


def test_the_real_files_are_read() -> None:
    data = real_data("cifar10").parent
    for name in FILES:
        some = cifar10.read(cifar10.find(data, name), every=50)
        images = some.inputs[INPUT]
        assert (images.min(), images.max()) == (0, 255)
        assert set(some.labels.tolist()) == set(range(10))
        assert abs(images.mean() - 120) < 10


def test_a_damaged_file_and_offsets_that_are_none_are_told_of(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    path = write(tmp_path / "some.npz", [_jpeg(pictures[0])], [1])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(NoData, match=r"is no \.npz with the arrays"):
        cifar10.read(path)
    np.savez(path, jpeg=np.zeros(9, np.uint8), offsets=np.array([0.0, 9.0]), y=np.array([1]))
    with pytest.raises(NoData, match="2 offsets and 1 labels"):
        cifar10.read(path)
