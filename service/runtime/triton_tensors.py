"""Arrays as the tensors of a ModelInfer message and back; what comes back is believed only as far as it fits.

Tensors are sent raw. Answers are read raw or from typed contents, as servers of the protocol send either.
Source: Open Inference Protocol v2, gRPC, "Tensor Data".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest

from service.core.contract import DTYPES, Array, Arrays, TensorSpec
from service.core.errors import BadInput, RunFailed

_LENGTH = struct.Struct("<I")
_CONTENTS: Mapping[str, str] = MappingProxyType(
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


def encode(
    model: str, version: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], arrays: Arrays
) -> Any:
    """The request for all of `outputs`.

    Raises:
        BadInput: an input is unknown, missing or of another dtype.
    """
    known = {spec.name for spec in inputs}
    for name in arrays:
        if name not in known:
            raise BadInput(f"there is no input '{name}'")
    request = ModelInferRequest(model_name=model, model_version=version)
    for spec in inputs:
        array = arrays.get(spec.name)
        if array is None:
            raise BadInput(f"input '{spec.name}' is missing")
        if array.dtype != spec.dtype:
            raise BadInput(f"input '{spec.name}' is of dtype {array.dtype}, expected {spec.dtype}")
        request.inputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        request.raw_input_contents.append(_raw(array))
    for spec in outputs:
        request.outputs.add(name=spec.name)
    return request


def decode(response: Any, outputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The arrays of a ModelInferResponse.

    Raises:
        RunFailed: an output is missing, or is not what the remote's own metadata says, or not what its bytes say.
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise RunFailed(f"the remote server answered {len(response.outputs)} outputs with {len(raw)} contents")
    sent = {tensor.name: (tensor, raw[at] if raw else None) for at, tensor in enumerate(response.outputs)}
    arrays: dict[str, Array] = {}
    for spec in outputs:
        if spec.name not in sent:
            raise RunFailed(f"the remote server's answer has no output '{spec.name}'")
        tensor, data = sent[spec.name]
        if tensor.datatype != spec.datatype or not _fits(tensor.shape, spec):
            raise RunFailed(f"the remote server's output '{spec.name}' is not {spec.datatype} {list(spec.shape)}")
        flat = _from_raw(spec, data) if data is not None else _from_contents(spec, tensor.contents)
        if flat.size != math.prod(tensor.shape):
            raise RunFailed(f"the remote server's output '{spec.name}' has more or fewer elements than its shape says")
        arrays[spec.name] = flat.reshape(tuple(tensor.shape))
    return arrays


def _fits(shape: Sequence[int], spec: TensorSpec) -> bool:
    if len(shape) != len(spec.dims) or any(size < 0 for size in shape):
        return False
    return all(size == dim or not isinstance(dim, int) for size, dim in zip(shape, spec.dims, strict=True))


def _raw(array: Array) -> bytes:
    if array.dtype != DTYPES["BYTES"]:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return b"".join(part for element in array.flat for part in (_LENGTH.pack(len(element)), element))


def _from_raw(spec: TensorSpec, data: bytes) -> Array:
    if spec.datatype == "BYTES":
        return _texts(spec, data)
    if len(data) % spec.dtype.itemsize:
        raise RunFailed(f"the remote server's output '{spec.name}' ends within an element")
    if spec.datatype == "BOOL":
        # Whatever is no 0 is true: a bool of numpy's is 0 or 1.
        return np.asarray(np.frombuffer(data, np.uint8) != 0)
    return np.frombuffer(data, spec.dtype.newbyteorder("<")).astype(spec.dtype, copy=False)


def _texts(spec: TensorSpec, data: bytes) -> Array:
    found: list[bytes] = []
    at = 0
    while at + _LENGTH.size <= len(data):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(data, at)[0]
        found.append(data[begin:at])
    if at != len(data):
        raise RunFailed(f"the remote server's output '{spec.name}' ends within an element")
    return _objects(found)


def _from_contents(spec: TensorSpec, contents: Any) -> Array:
    name = _CONTENTS.get(spec.datatype)
    values = list(getattr(contents, name)) if name is not None else []
    if spec.datatype == "BYTES":
        return _objects(values)
    try:
        return np.array(values, dtype=spec.dtype)
    except OverflowError:
        raise RunFailed(f"the remote server's output '{spec.name}' does not fit {spec.datatype}") from None


def _objects(values: Sequence[bytes]) -> Array:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array
