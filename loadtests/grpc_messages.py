"""Inference over gRPC as bytes: requests made ready from rows, one a row, and answers read.

The messages are those of the protocol's grpc_predict_v2.proto, as Triton's client ships them; contents are raw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from conformance.tensors import pack, unpack
from loadtests.pools import Rows, Signature

Array = NDArray[Any]

# Typed contents, for servers that answer with these instead of raw ones: datatype -> field of InferTensorContents.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_DTYPES = {"FP32": "<f4", "FP64": "<f8", "BOOL": "?"}


def messages_of(rows: Rows, signature: Signature, *, model: str, version: str) -> tuple[bytes, ...]:
    """One serialised ModelInferRequest for each row; without a version the server chooses."""
    return tuple(_message(rows, at, signature, model, version) for at in range(len(rows)))


def _message(rows: Rows, at: int, signature: Signature, model: str, version: str) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    for name, datatype in signature.inputs.items():
        array = rows.inputs[name][at : at + 1]
        request.inputs.add(name=name, datatype=datatype, shape=list(array.shape))
        request.raw_input_contents.append(pack(array))
    for name in signature.outputs:
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def decode(message: bytes) -> tuple[str, dict[str, Array]]:
    """The version that answered, and its outputs by name.

    Raises:
        ValueError, KeyError, TypeError: it is no ModelInferResponse that holds together.
    """
    try:
        answer = service_pb2.ModelInferResponse.FromString(message)
    except DecodeError as error:
        raise ValueError(f"no ModelInferResponse: {error}") from None
    return answer.model_version, outputs_of(answer)


def outputs_of(answer: Any) -> dict[str, Array]:
    """The outputs of a ModelInferResponse, by name. Raises as `decode`."""
    raw = answer.raw_output_contents
    if raw and len(raw) != len(answer.outputs):
        raise ValueError(f"{len(raw)} raw contents for {len(answer.outputs)} outputs")
    return {
        one.name: unpack(raw[at], one.datatype, one.shape) if raw else _typed(one)
        for at, one in enumerate(answer.outputs)
    }


def _typed(output: Any) -> Array:
    values = list(getattr(output.contents, _CONTENTS[output.datatype]))
    if output.datatype == "BYTES":
        texts = np.empty(len(values), np.object_)
        texts[:] = values
        return texts.reshape(output.shape)
    return np.asarray(values, _DTYPES.get(output.datatype, output.datatype.lower())).reshape(output.shape)
