"""A user's .npz file is held against the model, and each mistake in it is one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data import npz_files
from models.data.npz_files import BadData, read_samples
from models.data.samples import Samples
from service.core.contract import TensorSpec

X = TensorSpec("x", "FP32", ("batch", 4))
IDS = TensorSpec("ids", "INT64", ("batch", "words"))
MASK = TensorSpec("mask", "INT64", ("batch", "words"))
TEXT = TensorSpec("text", "BYTES", ("batch",))
GOOD: dict[str, Any] = {
    "x": np.ones((3, 4), np.float32),
    "ids": np.ones((3, 5), np.int64),
    "mask": np.ones((3, 5), int),
}
LABELS = np.array([0, 1, 2])


def file(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "f.npz", **arrays)
    return folder / "f.npz"


def without(name: str) -> dict[str, Any]:
    return {key: array for key, array in GOOD.items() if key != name}


def with_nan() -> Any:
    array = np.ones((3, 4), np.float32)
    array[1, 2] = np.nan
    return array


WRONG: list[tuple[dict[str, Any], str]] = [
    (without("ids"), "has no array 'ids', which is an input of the model"),
    ({**GOOD, "xx": LABELS}, "the model has no input 'xx'; did you mean 'x'"),
    ({**GOOD, "label": LABELS}, "the model has no input 'label'"),
    ({**GOOD, "x": np.ones((3, 4))}, "'x' is of dtype float64, the model takes float32"),
    ({**GOOD, "ids": np.ones((3, 5), np.int32)}, "'ids' is of dtype int32, the model takes int64"),
    ({**GOOD, "x": np.ones((3, 7), np.float32)}, r"'x' has shape \(3, 7\), the model takes \(batch, 4\)"),
    ({**GOOD, "x": np.ones(3, np.float32)}, r"'x' has shape \(3,\), the model takes \(batch, 4\)"),
    ({**GOOD, "x": np.ones((2, 4), np.float32)}, "the same number of samples on axis 0; found x 2, ids 3, mask 3"),
    ({**GOOD, "mask": np.ones((3, 6), int)}, "axis 'words' has 5 entries in 'ids' and 6 in 'mask'"),
    ({**GOOD, "x": with_nan()}, "'x' has a NaN or an infinity in row 1, and in 1 rows in all"),
    ({name: array[:0] for name, array in GOOD.items()}, "holds no samples"),
    ({**GOOD, "labels": np.ones(3)}, r"labels must be whole numbers of shape \(n,\).*found float64 of shape \(3,\)"),
    ({**GOOD, "labels": np.ones((3, 1), int)}, r"labels must be whole numbers.*found int64 of shape \(3, 1\)"),
    ({**GOOD, "labels": LABELS[:2]}, "the same number of samples on axis 0; found .*labels 2"),
    ({**GOOD, "labels": np.array(3)}, "the same number of samples on axis 0; found .*labels no"),
    ({**GOOD, "targets": np.array(["a", "b", "c"])}, "targets must be numbers; found <U1"),
    ({**GOOD, "targets": np.array([1, np.inf, 2])}, "targets hold a NaN or an infinity"),
    ({**GOOD, "labels": LABELS, "targets": LABELS}, "has both labels and targets; a test set has one of them"),
    ({**GOOD, "x": np.array([[None] * 4] * 3)}, r"'x' holds Python objects \(a pickle\), which are never read"),
]


@pytest.mark.parametrize(("arrays", "sentence"), WRONG)
def test_each_mistake_is_one_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadData, match=sentence) as refusal:
        read_samples(file(tmp_path, **arrays), [X, IDS, MASK], answers=True)
    assert "\n" not in str(refusal.value)
    assert "f.npz" in str(refusal.value)


def test_negative_control_what_fits_is_read(tmp_path: Path) -> None:
    found = read_samples(file(tmp_path, **GOOD, labels=LABELS.astype(np.uint8)), [X, IDS, MASK], answers=True)
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [0, 1, 2]
    assert {name: array.dtype for name, array in found.inputs.items()} == {
        "x": "float32",
        "ids": "int64",
        "mask": "int64",
    }
    priced = read_samples(file(tmp_path, **GOOD, targets=np.ones((3, 1), np.float32)), [X, IDS, MASK], answers=True)
    assert priced.targets is not None
    assert priced.targets.dtype == np.float64


def test_a_calibration_file_may_bring_labels_which_are_left_out(tmp_path: Path) -> None:
    found = read_samples(file(tmp_path, **GOOD, labels=np.ones(3)), [X, IDS, MASK], answers=False)
    assert (len(found), found.labelled, found.targets) == (3, False, None)


def test_an_input_may_be_called_labels(tmp_path: Path) -> None:
    spec = TensorSpec("labels", "FP32", ("batch", 2))
    found = read_samples(file(tmp_path, labels=np.ones((3, 2), np.float32)), [spec], answers=True)
    assert found.inputs["labels"].shape == (3, 2)
    assert not found.labelled


def test_text_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="'text' takes text, which the workshop cannot measure"):
        read_samples(file(tmp_path, text=np.array(["a"])), [TEXT], answers=False)


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"There is no file .*none\.npz"):
        read_samples(tmp_path / "none.npz", [X], answers=False)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(BadData, match=r"is not an \.npz file, or is damaged"):
        read_samples(tmp_path / "bad.npz", [X], answers=False)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(BadData, match=r"is one array; an \.npz file with one array per input is expected"):
        read_samples(tmp_path / "one.npy", [X], answers=False)
    whole = file(tmp_path, **GOOD).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match="damaged"):
        read_samples(tmp_path / "cut.npz", [X, IDS, MASK], answers=False)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_names_no_class_is_refused(label: int) -> None:
    samples = Samples({"x": np.ones((3, 4), np.float32)}, np.array([0, label, 2]))
    with pytest.raises(BadData, match=f"f.npz: label {label} of row 1 names none of the 3 classes, which are 0 to 2"):
        npz_files.check_labels(Path("f.npz"), samples, 3)
    npz_files.check_labels(Path("f.npz"), samples.take([0, 2]), 3)


def test_targets_have_the_outputs_shape() -> None:
    flat = Samples({"x": np.ones((3, 4), np.float32)}, targets=np.ones(3))
    fitted = npz_files.check_targets(Path("f.npz"), flat, (1,)).targets
    assert fitted is not None
    assert fitted.shape == (3, 1)
    with pytest.raises(BadData, match=r"f.npz: a target has shape \(\), the output has \(2,\)"):
        npz_files.check_targets(Path("f.npz"), flat, (2,))


def marked(whole: bytes, local: int, central: int, value: int) -> bytes:
    """An archive with one byte set in the head of each member, at these places of the local and the central head."""
    data = bytearray(whole)
    for signature, place in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + place] = value
    return bytes(data)


@pytest.mark.parametrize("damage", [(6, 8, 1), (8, 10, 99)], ids=["encrypted", "packed in a way that nobody knows"])
def test_archives_that_zip_does_not_open_are_refused(tmp_path: Path, damage: tuple[int, int, int]) -> None:
    path = file(tmp_path, **GOOD)
    path.write_bytes(marked(path.read_bytes(), *damage))
    with pytest.raises(BadData, match=r"is not an \.npz file, or is damaged"):
        read_samples(path, [X, IDS, MASK], answers=False)


def test_members_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("x.npy", b"hello")
    with pytest.raises(BadData, match="'x' is not an array"):
        read_samples(tmp_path / "f.npz", [X], answers=False)


def test_a_head_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 4), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    with pytest.raises(BadData, match="says that it holds more than there is memory for"):
        read_samples(tmp_path / "f.npz", [X], answers=False)


def test_a_single_number_for_an_input_is_refused_in_words(tmp_path: Path) -> None:
    path = file(tmp_path, x=np.ones((3, 4), np.float32), k=np.float32(1))
    with pytest.raises(BadData, match="the same number of samples on axis 0; found x 3, k no"):
        read_samples(path, [X, TensorSpec("k", "FP32", ())], answers=False)
