"""A tensor's typed contents, as gRPC carries it where it is not raw: repeated fields, one for several datatypes.

Source: Open Inference Protocol v2, gRPC, "InferTensorContents". FP16 and BF16 have no field. Knows one tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from service.core.contract import DTYPES, Array
from service.core.errors import BadInput
from service.gateway.quote import quote

_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "BOOL": "bool_contents",
        **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
        "INT64": "int64_contents",
        **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)
_PIECE = 64 << 10  # values: within one nobody else runs, on whatever thread it is
_FIELD_BYTES = 4  # of the fields that narrower integers share: only those may hold what the datatype cannot


def array_of(contents: Any, shape: Sequence[int], datatype: str, name: str) -> Array:
    """The array that the message `contents` (InferTensorContents) holds.

    Args:
        contents: of the input.
        shape: non-negative integers.
        datatype: a key of `DTYPES`.
        name: the input's, for messages.

    Returns:
        C-contiguous, of `shape`; BYTES as an object array of `bytes`.

    Raises:
        BadInput: another field is filled, too many or too few elements, or one that the datatype cannot hold.
    """
    field = _FIELDS.get(datatype)
    if field is None:
        raise BadInput(f"input {quote(name)} is {datatype}, which only 'raw_input_contents' can carry")
    for given, _ in contents.ListFields():
        if given.name != field:
            raise BadInput(f"input {quote(name)} is {datatype} and has '{given.name}', expected '{field}'")
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise BadInput(f"input {quote(name)} has {len(values)} elements, its shape asks for {prod(shape)}")
    pieces = [_piece(values[at : at + _PIECE], datatype, name) for at in range(0, max(1, len(values)), _PIECE)]
    return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces)).reshape(shape)


def _piece(values: list[Any], datatype: str, name: str) -> Array:
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=np.object_)
        array[:] = values
        return array
    if dtype.kind not in "iu" or dtype.itemsize >= _FIELD_BYTES:
        return np.array(values, dtype=dtype)
    wide = np.array(values, dtype=np.int64)
    limits = np.iinfo(dtype)
    if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
        raise BadInput(f"input {quote(name)} holds a value outside {datatype}, {limits.min} to {limits.max}")
    return wide.astype(dtype)
