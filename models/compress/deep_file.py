"""Writes model.deep: an ONNX file in a smaller form that decodes to the same bytes, for versions to lie coded on disk.

Lossless for any file. It gains where tensors have few values, many of them zero: what pruning, weight sharing and
integer quantisation leave. Each tensor is coded in the way that takes least, or stays where it is.
The other half is `service.repository.deep_codec`. Source: Han, Mao, Dally, "Deep Compression" (ICLR 2016), section 4.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from models.compress.deep_blocks import deflated, number, smallest_block
from service.repository.deep_codec import CRC_BYTES, MAGIC
from service.repository.onnx_tensor import BITS
from service.repository.protobuf_wire import BLOB, BLOBS, INTEGER, Malformed, Rule, Wire

_LEAST_BYTES = 64
_SECTION_BYTES = 4 + CRC_BYTES
_FIELDS_LIMIT = 4_000_000
_ANY = Rule((0, 1, 2, 5), once=False)
_MODEL, _GRAPH, _NODE, _ATTRIBUTE = {7: BLOB}, {1: BLOBS, 5: BLOBS}, {5: BLOBS}, {5: BLOB}
# float_data, raw_data and double_data hold their elements as they are; the other fields as varints.
_TENSOR = {2: INTEGER, 4: _ANY, 9: BLOB, 10: _ANY}
_LENGTH_DELIMITED = 2
_ELEMENT_BYTES = {4: 4, 10: 8}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file the elements of a tensor lie, and the bytes of one."""

    start: int
    stop: int
    width_bytes: int


def encode(onnx: bytes) -> bytes:
    """The file in coded form; `deep_codec.decode` gives exactly `onnx` back. Any bytes can be coded."""
    skeleton, blocks, payloads = [], [], []
    at = 0
    for place in places(onnx):
        elements = onnx[place.start : place.stop]
        payload = smallest_block(elements, place.width_bytes)
        if len(payload) + _SECTION_BYTES >= len(deflated(elements)):
            continue
        skeleton.append(onnx[at : place.start])
        blocks.append(number(len(skeleton[-1])) + number(len(elements)))
        payloads.append(payload)
        at = place.stop
    whole = b"".join((*skeleton, onnx[at:]))
    head = number(len(onnx)) + hashlib.sha256(onnx).digest() + number(len(whole)) + number(len(blocks))
    sections = (head + b"".join(blocks), deflated(whole), *payloads)
    return MAGIC + b"".join(map(_section, sections))


def places(onnx: bytes) -> list[Place]:
    """Where the main graph's initializers and constants lie, in the file's order; none in what is no ONNX file."""
    wire = Wire(onnx, _FIELDS_LIMIT)
    try:
        found = [place for tensor in _tensors(wire, len(onnx)) for place in _elements(wire, *tensor)]
    except Malformed:
        return []
    return sorted(found, key=lambda place: place.start)


def _tensors(wire: Wire, size_bytes: int) -> Iterator[tuple[int, int]]:
    for _, _, graph, graph_end in wire.fields(0, size_bytes, _MODEL):
        for field, _, start, stop in wire.fields(graph, graph_end, _GRAPH):
            if field == 5:
                yield start, stop
                continue
            for _, _, attribute, attribute_end in wire.fields(start, stop, _NODE):
                for _, _, tensor, tensor_end in wire.fields(attribute, attribute_end, _ATTRIBUTE):
                    yield tensor, tensor_end


def _elements(wire: Wire, start: int, stop: int) -> list[Place]:
    data_type, found = 0, []
    for field, kind, value, end in wire.fields(start, stop, _TENSOR):
        if field == 2:
            data_type = value
        elif kind == _LENGTH_DELIMITED:
            found.append((field, value, end))
    raw_bytes = min(max(BITS.get(data_type, 8) // 8, 1), 8)
    sized = [Place(first, last, _ELEMENT_BYTES.get(field, raw_bytes)) for field, first, last in found]
    return [p for p in sized if p.stop - p.start >= _LEAST_BYTES and not (p.stop - p.start) % p.width_bytes]


def _section(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(CRC_BYTES, "little") + payload
