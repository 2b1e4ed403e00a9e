"""Arrays as an Open Inference Protocol message with binary tensors, and the answer back into arrays: the client's side.

Source: the protocol's binary tensor data extension. Knows nothing of files or of the connection.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.cli.failure import Failure
from service.core.contract import DATATYPES, DTYPES, Array, Arrays

HEADER = "Inference-Header-Content-Length"


def encode_request(inputs: Arrays) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request for every output, in binary.

    Args:
        inputs: name -> array of any dtype that the protocol has; S, U and object arrays are sent as BYTES.

    Raises:
        Failure: an array has a dtype that the protocol does not have.
    """
    tensors, blobs = [], []
    for name, array in inputs.items():
        datatype = _datatype(name, array)
        blob = _strings(array) if datatype == "BYTES" else np.ascontiguousarray(array, DTYPES[datatype]).tobytes()
        parameters = {"binary_data_size": len(blob)}
        tensors.append({"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters})
        blobs.append(blob)
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER: str(len(head))}
    return head + b"".join(blobs), headers


def decode_answer(body: bytes, head_length: str | int | None) -> tuple[dict[str, Any], dict[str, Array]]:
    """The JSON part of an answer, and its outputs as arrays.

    Args:
        body: the whole answer.
        head_length: bytes of its JSON part, as its header says; None when it is JSON alone.

    Raises:
        Failure: it is no such message.
    """
    try:
        at = len(body) if head_length is None else int(head_length)
        head = json.loads(body[:at])
        outputs = {}
        for tensor in head["outputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size", 0)
            outputs[tensor["name"]] = _output(tensor, body[at : at + size])
            at += size
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise Failure("the server's answer is no Open Inference Protocol message.") from error
    return head, outputs


def _datatype(name: str, array: Array) -> str:
    if array.dtype.kind in "SUO":
        return "BYTES"
    if (datatype := DATATYPES.get(array.dtype.newbyteorder("="))) is None:
        raise Failure(f"input {name!r} holds {array.dtype}, which the protocol has no datatype for.")
    return datatype


def _strings(array: Array) -> bytes:
    elements = (item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel())
    return b"".join(struct.pack("<I", len(item)) + item for item in elements)


def _output(tensor: Mapping[str, Any], blob: bytes) -> Array:
    dtype, shape = DTYPES[tensor["datatype"]], tensor["shape"]
    if "data" in tensor:
        return np.array(tensor["data"], dtype).reshape(shape)
    if tensor["datatype"] != "BYTES":
        return np.frombuffer(blob, dtype).reshape(shape)
    array = np.empty(len(items := _elements(blob)), np.object_)
    array[:] = items
    return array.reshape(shape)


def _elements(blob: bytes) -> list[bytes]:
    items, at = [], 0
    while at < len(blob):
        (length,) = struct.unpack_from("<I", blob, at)
        items.append(blob[at + 4 : at + 4 + length])
        at += 4 + length
    return items
