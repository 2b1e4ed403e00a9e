"""A tensor's JSON form: row-major numbers, nested or flat, to an array and back, with nothing wrapped or guessed.

Source: Open Inference Protocol v2, "Tensor Data". Works on what orjson parsed, so NaN and infinity cannot come in.
Knows one tensor at a time; which tensors a request has is `codec`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson

from service.core.contract import DTYPES, Array
from service.core.errors import BadInput, NotRepresentable
from service.gateway.quote import quote

_INTEGERS = frozenset({int})
_FLOATS = frozenset({int, float})
# JSON carries no FP16: half of the languages that would write it have no such type.
_KINDS: Mapping[str, frozenset[type]] = MappingProxyType(
    {
        "BOOL": frozenset({bool}),
        **{f"{sign}INT{bits}": _INTEGERS for sign in ("", "U") for bits in (8, 16, 32, 64)},
        "FP32": _FLOATS,
        "FP64": _FLOATS,
        "BYTES": frozenset({str}),
    }
)
# struct's codes; in its standard sizes ("=") it refuses what does not fit, where numpy would wrap an integer (before
# numpy 2) or turn a float into infinity.
_CODES: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "?",
        **dict(zip(("INT8", "INT16", "INT32", "INT64"), "bhiq", strict=True)),
        **dict(zip(("UINT8", "UINT16", "UINT32", "UINT64"), "BHIQ", strict=True)),
        "FP32": "f",
        "FP64": "d",
    }
)
_HALF = np.dtype(np.float16)
_PIECE = 64 << 10  # values: a millisecond or two
_FEW = 1024  # values that are looked at one by one as soon as together
_WORDS = {"BOOL": "booleans", "FP32": "numbers", "FP64": "numbers", "BYTES": "strings"}


def array_of(data: Any, shape: Sequence[int], datatype: str, name: str) -> Array:
    """The array that JSON `data` stands for.

    Args:
        data: as parsed; a list, flat or nested as deep as `shape` is long.
        shape: non-negative integers.
        datatype: a key of `DTYPES`.
        name: the input's, for messages.

    Returns:
        C-contiguous, read-only, of `shape` and the datatype's dtype; BYTES as an object array of `bytes`.

    Raises:
        BadInput: not a list, unevenly nested, of another size than `shape`, or with an element that the datatype
            cannot hold.
    """
    if datatype not in _KINDS:
        raise BadInput(f"input {quote(name)} is {datatype}, which JSON cannot carry: send it as binary data")
    if type(data) is not list:
        raise BadInput(f"'data' of input {quote(name)} is {quote(data)}, expected a list")
    flat, kinds = flatten(data, shape, name), _KINDS[datatype]
    if len(flat) <= _PIECE:
        return _piece_of(flat, kinds, datatype, name).reshape(shape)
    # Piece by piece: within one nobody else runs, on whatever thread it is.
    pieces = [_piece_of(flat[at : at + _PIECE], kinds, datatype, name) for at in range(0, len(flat), _PIECE)]
    array = np.concatenate(pieces).reshape(shape)
    array.flags.writeable = False
    return array


def packer_of(count: int, datatype: str) -> struct.Struct:
    """Packs so many numbers of a datatype, which is not BYTES; refuses what it cannot hold, but takes booleans too."""
    return struct.Struct(f"={count}{_CODES[datatype]}")


def _piece_of(flat: list[Any], kinds: frozenset[type], datatype: str, name: str) -> Array:
    try:
        array = _convert(flat, datatype)
    except (AttributeError, OverflowError, struct.error):  # no text, too large a number, or no number
        array = None
    doubtful = flat if array is None else _doubtful(flat, array)
    if not kinds.issuperset(map(type, doubtful)):
        raise BadInput(_element_sentence(flat, kinds, datatype, name))
    if array is None:
        raise BadInput(f"'data' of input {quote(name)} has a number outside the range of {datatype}")
    return array


def _doubtful(flat: list[Any], array: Array) -> Iterable[Any]:
    """Those of `flat` that may be of another kind though they became `array`: struct takes booleans for 0 and 1.

    To find these is far cheaper than to look at each element where there are many. For BOOL it takes anything.
    """
    if array.size <= _FEW or array.dtype == np.bool_:
        return flat
    if array.dtype.kind == "O":
        return ()
    return map(flat.__getitem__, np.flatnonzero((array == 0) | (array == 1)).tolist())


def flatten(data: list[Any], shape: Sequence[int], name: str) -> list[Any]:
    """`data` without its nesting, row-major.

    Raises:
        BadInput: the lists do not have the sizes that `shape` names.
    """
    if not data or type(data[0]) is not list:
        if len(data) != prod(shape):
            raise BadInput(f"'data' of input {quote(name)} has {len(data)} elements, expected {prod(shape)}")
        return data
    level: list[Any] = [data]
    for axis, size in enumerate(shape):
        if any(type(part) is not list or len(part) != size for part in level):
            raise BadInput(
                f"'data' of input {quote(name)} is nested unevenly: expected lists of {size} at depth {axis + 1}"
            )
        level = list(chain.from_iterable(level))
    return level


def values_of(array: Array, name: str) -> Any:
    """What orjson writes for an output: the flat array itself, or a list of strings for BYTES.

    Raises:
        NotRepresentable: FP16, or bytes that are not UTF-8.
    """
    if array.dtype == _HALF:
        raise NotRepresentable(f"output {quote(name)} is FP16, which JSON cannot carry: ask for binary data")
    if array.dtype.kind != "O":
        return array.ravel()
    try:
        return [element.decode() for element in array.reshape(-1)]
    except UnicodeDecodeError:
        raise NotRepresentable(f"output {quote(name)} is not UTF-8: ask for binary data") from None


def in_pieces(values: Any) -> Any:
    """`values_of` an output; a large array as the text of it, written piece by piece as it would be read."""
    if not isinstance(values, np.ndarray) or values.size <= _PIECE:
        return values
    pieces = (values[at : at + _PIECE] for at in range(0, values.size, _PIECE))
    text = b",".join(orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1] for piece in pieces)
    return orjson.Fragment(b"[" + text + b"]")


def refuse_non_finite(array: Array, name: str) -> None:
    """Raises `NotRepresentable` if a float array holds NaN or infinity, which orjson would write as null."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise NotRepresentable(
            f"output {quote(name)} holds NaN or infinity, which JSON cannot carry: ask for binary data"
        )


def _convert(flat: list[Any], datatype: str) -> Array:
    if datatype == "BYTES":
        texts = np.empty(len(flat), dtype=np.object_)
        texts[:] = [element.encode() for element in flat]
        return texts
    return np.frombuffer(packer_of(len(flat), datatype).pack(*flat), DTYPES[datatype])


def _element_sentence(flat: list[Any], kinds: frozenset[type], datatype: str, name: str) -> str:
    wrong = next(element for element in flat if type(element) not in kinds)
    shown = wrong if type(wrong) in (int, float) else quote(wrong)
    expected = _WORDS.get(datatype, "integers")
    return f"'data' of input {quote(name)} has {shown}, but {datatype} takes only {expected}"
