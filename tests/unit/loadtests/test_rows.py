"""Rows from a file, from digits and made up; and what each version should answer, asked of it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.tensors import pack
from loadtests.pools import MOST_ROWS, Rows, Signature
from loadtests.rows import MADE_UP_ROWS, BadRows, rows_for, with_reference
from loadtests.server import CannotLoad, Server
from tests.support.scripted import Act, Scripted, routed

IMAGES = np.arange(12, dtype=np.float64).reshape(6, 2)
METADATA = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 2]}]}
DIGITS = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]}
TEXTS = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1, -1]}]}
SIGNATURE = Signature({"image": "FP32"}, {"logits": "FP32"})


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz"


class TestFile:
    def test_rows_become_the_dtype_of_the_model(self, tmp_path: Path) -> None:
        rows = rows_for("m", METADATA, saved(tmp_path, image=IMAGES, labels=np.arange(6, dtype=np.uint8)), seed=0)
        assert rows.inputs["image"].dtype == np.float32 and np.array_equal(rows.inputs["image"], IMAGES)
        assert rows.labels is not None and rows.labels.dtype == np.int64
        assert rows.source == "rows.npz" and rows.expected is None

    def test_a_golden_file_brings_its_answers_by_the_names_of_the_outputs(self, tmp_path: Path) -> None:
        file = saved(tmp_path, **{"input/image": IMAGES, "output/logits": IMAGES + 1})
        rows = rows_for("m", METADATA, file, seed=0)
        assert rows.expected is not None and np.array_equal(rows.expected["logits"], IMAGES + 1)
        assert rows.labels is None

    def test_targets_of_another_task_are_no_input(self, tmp_path: Path) -> None:
        rows = rows_for("m", METADATA, saved(tmp_path, image=IMAGES, targets=IMAGES), seed=0)
        assert list(rows.inputs) == ["image"]

    @pytest.mark.parametrize("texts", [[["\u00e4"], ["b"]], [["\u00e4".encode()], [b"b"]]], ids=["str", "bytes"])
    def test_texts_become_the_bytes_that_travel(self, tmp_path: Path, texts: list[list[Any]]) -> None:
        rows = rows_for("m", TEXTS, saved(tmp_path, text=np.array(texts)), seed=0)
        assert rows.inputs["text"].tolist() == [["\u00e4".encode()], [b"b"]]
        assert pack(rows.inputs["text"]) == b"\x02\0\0\0\xc3\xa4\x01\0\0\0b"

    def test_no_more_rows_are_taken_than_a_pool_holds_and_labels_stay_with_theirs(self, tmp_path: Path) -> None:
        many = np.repeat(np.arange(MOST_ROWS * 2)[:, None], 2, axis=1)
        rows = rows_for("m", METADATA, saved(tmp_path, image=many, labels=many[:, 0]), seed=3)
        assert len(rows) == MOST_ROWS and rows.labels is not None
        assert np.array_equal(rows.inputs["image"][:, 0], rows.labels)
        again = rows_for("m", METADATA, tmp_path / "rows.npz", seed=3)
        assert np.array_equal(again.inputs["image"], rows.inputs["image"])  # the same draw for the same seed

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"other": IMAGES}, "no array for input 'image'"),
            ({"image": IMAGES, "labels": np.arange(5)}, r"arrays of \[5, 6\] rows"),
            ({"image": IMAGES, "labels": np.zeros((6, 1), int)}, r"labels have the shape \[6, 1\]"),
            ({"image": IMAGES, "labels": np.full(6, np.nan)}, "labels are float64; whole numbers"),
            ({"image": IMAGES[:0]}, "has no row"),
            ({"image": np.array([["a", "b"]])}, "a row cannot be made FP32"),
            ({"image": np.float32(1)}, r"shape \[\], the model takes"),
            ({"image": IMAGES[:, :1]}, r"shape \[1\], the model takes \[2\]"),
            ({"image": IMAGES[:, :, None]}, r"shape \[2, 1\], the model takes \[2\]"),
        ],
    )
    def test_what_does_not_fit_is_told(self, tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
        with pytest.raises(BadRows, match=said):
            rows_for("m", METADATA, saved(tmp_path, **arrays), seed=0)

    @pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 cut"])
    def test_no_archive_is_told(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "rows.npz").write_bytes(data)
        with pytest.raises(BadRows, match="cannot be read as a"):
            rows_for("m", METADATA, tmp_path / "rows.npz", seed=0)

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(BadRows, match=r"rows\.npz cannot be read as a \.npz of arrays: No such file or directory$"):
            rows_for("m", METADATA, tmp_path / "rows.npz", seed=0)

    def test_a_lone_array_is_told(self, tmp_path: Path) -> None:
        np.save(tmp_path / "rows.npy", IMAGES)
        with pytest.raises(BadRows, match="cannot be read as a"):
            rows_for("m", METADATA, tmp_path / "rows.npy", seed=0)

    def test_pickled_arrays_are_refused(self, tmp_path: Path) -> None:
        file = saved(tmp_path, image=np.array([{"a": 1}], dtype=object))
        with pytest.raises(BadRows, match="cannot be read"):
            rows_for("m", METADATA, file, seed=0)

    def test_a_file_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(BadRows, match=r"none\.npz cannot be read"):
            rows_for("m", METADATA, tmp_path / "none.npz", seed=0)


class TestWithoutFile:
    def test_digits_are_asked_their_test_set(self) -> None:
        rows = rows_for("digits", DIGITS, None, seed=0)
        assert rows.labels is not None and len(rows) == len(rows.labels) == MOST_ROWS
        assert rows.inputs["image"].shape[1:] == (1, 8, 8) and rows.source == "the test set of digits"

    def test_another_model_of_that_name_gets_made_up_rows(self) -> None:
        rows = rows_for("digits", METADATA, None, seed=0)
        assert rows.source == "made up" and rows.inputs["image"].shape == (MADE_UP_ROWS, 2)

    def test_made_up_rows_differ_from_one_another_and_by_the_seed_only(self) -> None:
        first, again, other = (rows_for("m", METADATA, None, seed=seed).inputs["image"] for seed in (0, 0, 1))
        assert len(np.unique(first, axis=0)) == MADE_UP_ROWS
        assert np.array_equal(first, again) and not np.array_equal(first, other)


def doubling(head: bytes, body: bytes) -> Any:
    """A version whose answer is twice the row; refuses binary tensors."""
    if b"octet-stream" in head:
        return "JSON only"
    (one,) = json.loads(body)["inputs"]
    output = {"name": "logits", "datatype": "FP32", "shape": one["shape"], "data": [2 * x for x in one["data"]]}
    return {"model_name": "m", "model_version": "1", "outputs": [output]}


ROWS = Rows({"image": IMAGES.astype(np.float32)})


def referenced(routes: dict[str, Any]) -> Rows:
    with Scripted(routed(routes)) as scripted, Server(scripted.url) as server:
        return with_reference(ROWS, server, "m", "1", SIGNATURE)


class TestReference:
    def test_each_row_has_what_the_version_answers_to_it_alone(self) -> None:
        routes = {"GET /v2": {"extensions": []}, "POST /v2/models/m/versions/1/infer": doubling}
        rows = referenced(routes)
        assert rows.expected is not None and np.array_equal(rows.expected["logits"], IMAGES * 2)
        assert np.array_equal(rows.inputs["image"], IMAGES)

    def test_a_row_that_is_not_answered_is_named_with_the_reason(self) -> None:
        """It says that it takes binary tensors, and does not."""
        routes = {"POST /v2/models/m/versions/1/infer": doubling}
        with pytest.raises(CannotLoad, match=r"asked m/1 of row 0, .* answers 400: JSON only"):
            referenced(routes)

    @pytest.mark.parametrize("told", [{"outputs": ["logits"]}, {}, []])
    def test_an_answer_that_is_none_of_the_protocol_is_told_in_a_sentence(self, told: object) -> None:
        routes = {"GET /v2": {"extensions": []}, "POST /v2/models/m/versions/1/infer": told}
        with pytest.raises(CannotLoad, match=r"asked m/1 of row 0, .* gives no answer of the protocol: .+"):
            referenced(routes)

    def test_a_server_that_hangs_up_in_the_middle_is_told_in_a_sentence(self) -> None:
        hangs_up = lambda *_: Act(b"", close=True)  # noqa: E731
        with (
            Scripted(hangs_up) as scripted,
            Server(scripted.url) as server,
            pytest.raises(CannotLoad, match=r"asked m/1 of row 0, .* gives no answer: .+"),
        ):
            with_reference(ROWS, server, "m", "1", SIGNATURE)
