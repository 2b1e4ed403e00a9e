"""BYTES tensors on their way into and out of ONNX Runtime, which wants `str` and turns `bytes` b"a" into "b'a'"."""

from __future__ import annotations

import numpy as np

from service.core.contract import Array
from service.core.errors import BadInput


def to_text(name: str, array: Array) -> Array:
    """An object array of `bytes` as one of `str`, of the same shape.

    Args:
        name: of the input, for the message.
        array: of any shape.

    Raises:
        BadInput: an element is not UTF-8; ONNX strings are.
    """
    try:
        return _object_array([element.decode() for element in array.ravel()], array.shape)
    except UnicodeDecodeError:
        raise BadInput(f"input '{name}' holds a string that is not UTF-8") from None


def to_bytes(array: Array) -> Array:
    """An object array of `str` as one of `bytes`, of the same shape."""
    return _object_array([element.encode() for element in array.ravel()], array.shape)


def _object_array(elements: list[str] | list[bytes], shape: tuple[int, ...]) -> Array:
    flat = np.empty(len(elements), dtype=object)
    flat[:] = elements
    return flat.reshape(shape)
