"""A version's files, coded or not."""

import numpy as np
import pytest

from models.cards import CODED
from models.compress import deep_file
from models.evaluate.version import Case, Version
from service.core.errors import BadModel
from service.repository.card import Card, FileEntry, Size

FILE = FileEntry(sha256="0" * 64, bytes=1)


def version(files: dict[str, bytes], size: Size | None) -> Version:
    return Version(Card(model="m", version="1", files=dict.fromkeys(files, FILE), size=size), files)


def test_the_coded_form_is_decoded(full_onnx: bytes) -> None:
    coded = deep_file.encode(full_onnx)
    assert version({CODED: coded}, Size(file_bytes=len(full_onnx))).onnx == full_onnx
    assert version({"model.onnx": full_onnx}, None).onnx == full_onnx


def test_a_coded_form_larger_than_its_card_says_is_refused(full_onnx: bytes) -> None:
    coded = deep_file.encode(full_onnx)
    with pytest.raises(BadModel):
        _ = version({CODED: coded}, Size(file_bytes=len(full_onnx) - 1)).onnx


def test_neither_form_is_an_error(full_onnx: bytes) -> None:
    for files in ({}, {CODED: deep_file.encode(full_onnx)}):
        with pytest.raises(BadModel, match="neither"):
            _ = version(files, None).onnx


def case(expected: object, answered: object) -> Case:
    return Case("y", np.asarray(expected), np.asarray(answered))


@pytest.mark.parametrize(("one", "other"), [([b"cat"], [b"dog"]), ([3, 9], [3, 8]), ([True], [False])])
def test_texts_and_whole_numbers_are_the_same_or_endlessly_far_away(one: object, other: object) -> None:
    assert (case(one, one).error, case(one, one).relative_l2) == (0.0, 0.0)
    assert (case(one, other).error, case(one, other).relative_l2) == (np.inf, np.inf)


def test_an_infinity_that_was_recorded_is_one_that_is_answered() -> None:
    same = case([[0.0, -np.inf, np.nan]], [[0.5, -np.inf, np.nan]])
    assert (same.fits, same.error) == (True, 0.5)
    for spoilt in ([[0.0, 1.0, np.nan]], [[np.nan, -np.inf, np.nan]], [[0.0, np.inf, np.nan]]):
        assert not case([[0.0, -np.inf, np.nan]], spoilt).fits
