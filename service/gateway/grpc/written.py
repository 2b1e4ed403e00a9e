"""Large answers as the bytes that they are on the wire, written in a thread while others are answered.

Protobuf writes a message in one call, which copies all of it several times and which nothing runs beside: a second for
an answer of 64 MiB. So its tensors are put behind what protobuf wrote of the rest, which is the same message: fields
may come in any order. Sources: protobuf's "Encoding"; grpc_service.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from service.gateway.joining import Blob, joined_bytes

_RAW_CONTENTS = b"\x32"  # ModelInferResponse.raw_output_contents: field 6, of so many bytes
_INFER_RESPONSE = b"\x12"  # ModelStreamInferResponse.infer_response: field 2, of so many bytes
_SEVEN_BITS = 7

Serializer = Callable[[Any], bytes]


def written(message: Any, blobs: Sequence[Blob], *, streamed: bool) -> bytes:
    """The wire's bytes of an answer.

    Args:
        message: a ModelInferResponse without its raw contents.
        blobs: these, in the order of its outputs.
        streamed: whether it goes out inside a ModelStreamInferResponse.
    """
    parts: list[Blob] = [message.SerializeToString()]
    for blob in blobs:
        parts += (_RAW_CONTENTS + _varint(len(blob)), blob)
    if streamed:
        parts.insert(0, _INFER_RESPONSE + _varint(sum(map(len, parts))))
    return joined_bytes(parts)


def unless_written(serializer: Serializer) -> Serializer:
    """`serializer`, for messages that are not on the wire's form already."""
    return lambda message: message if type(message) is bytes else serializer(message)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number >> _SEVEN_BITS:
        octets.append(number & 0x7F | 0x80)
        number >>= _SEVEN_BITS
    octets.append(number)
    return bytes(octets)
