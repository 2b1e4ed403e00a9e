"""BYTES on the way in and out."""

from __future__ import annotations

import numpy as np
import pytest

from service.core.errors import BadInput
from service.runtime.strings import to_bytes, to_text


def bytes_array(elements: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    return flat.reshape(shape)


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ([b"a", b"", b"b\0c", "\u00e9\U0001f600".encode()], (2, 2)),
        ([b"alone"], ()),
        ([b"x"], (1, 1, 1)),
        ([], (0, 3)),
        ([b"same", b"same"], (2,)),
    ],
)
def test_round_trip(elements: list[bytes], shape: tuple[int, ...]) -> None:
    array = bytes_array(elements, shape)
    text = to_text("x", array)
    assert text.shape == shape
    assert all(isinstance(element, str) for element in text.ravel())
    back = to_bytes(text)
    assert back.shape == shape
    assert list(back.ravel()) == elements


def test_the_layout_of_the_array_does_not_matter() -> None:
    array = bytes_array([b"a", b"b", b"c", b"d", b"e", b"f"], (2, 3))
    assert to_text("x", array.T).tolist() == [["a", "d"], ["b", "e"], ["c", "f"]]
    assert to_text("x", array[:, ::2]).tolist() == [["a", "c"], ["d", "f"]]


@pytest.mark.parametrize("element", [b"\xff", b"ok \xc3", b"\xed\xa0\x80", b"\xc0\x80"])  # the third is a surrogate
def test_what_is_not_utf8_is_refused_by_name(element: bytes) -> None:
    with pytest.raises(BadInput, match="input 'words' holds a string that is not UTF-8"):
        to_text("words", bytes_array([b"fine", element], (2,)))
