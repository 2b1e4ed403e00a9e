"""A version's files, coded or not."""

import pytest

from models.cards import CODED
from models.compress import deep_file
from models.evaluate.version import Version
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
