"""Reads the head of one ONNX tensor: how much it declares, how much it holds, and in which file the rest lies.

Never touches the weights. Knows nothing of the graph around the tensor, nor of the disk.
Source: TensorProto in onnx.proto of ONNX 1.23, and docs/ExternalData.md there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.errors import BadModel
from service.repository.folder import path_parts
from service.repository.protobuf_wire import BLOB, BLOBS, INTEGER, INTEGERS, Field, Malformed, Rule, Wire
from service.repository.suggest import quoted

TENSOR: Mapping[int, Rule] = {1: INTEGERS, 2: INTEGER, 8: BLOB, 13: BLOBS, 14: INTEGER}
ENTRY: Mapping[int, Rule] = {1: BLOB, 2: BLOB}

# TensorProto.DataType -> bits of one element. Strings (8) have no fixed size and are never external.
BITS: Mapping[int, int] = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
    **dict.fromkeys((27, 28), 6),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
}
_SMALLEST_BITS = 2
_RANK_LIMIT = 64
_DIM_LIMIT = 1 << 63
_DIGITS_LIMIT = 19
_INSIDE, _EXTERNAL = 0, 1
_KEYS = ("location", "offset", "length")


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """Where the data of a tensor of the main graph lies: `length_bytes` from `offset_bytes` of the file `location`."""

    name: str
    location: str
    offset_bytes: int
    length_bytes: int


@dataclass(slots=True)
class _Head:
    name: str = ""
    data_type: int = 0
    location: int = 0
    elements: int = 1
    rank: int = 0
    external: dict[str, str] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        return BITS.get(self.data_type, _SMALLEST_BITS)


def read_tensor(wire: Wire, start: int, stop: int, *, may_be_external: bool) -> ExternalTensor | None:
    """Reads the tensor in bytes `start` to `stop`.

    Args:
        wire: the file.
        start: first byte of the message.
        stop: the byte behind its last one.
        may_be_external: whether ONNX Runtime takes this tensor's data from the memory it is given. For a tensor of a
            subgraph, a function or a sparse tensor it does not, and follows the path instead.

    Returns:
        Where its data lies when not in the message, else None.

    Raises:
        BadModel: it declares more than it holds, or its external data is of a form that is not served.
        Malformed: broken wire format.
    """
    head = _read_head(wire, start, stop)
    if head.location == _INSIDE:
        # Raw or as a varint, an element takes a byte at least, unless its type has less than 8 bits.
        if head.elements * min(head.bits, 8) > 8 * (stop - start):
            raise BadModel(f"Tensor {quoted(head.name)} declares {head.elements} elements in {stop - start} bytes.")
        return None
    if head.location != _EXTERNAL:
        raise Malformed(f"tensor {quoted(head.name)} lies in a place that does not exist")
    if not may_be_external:
        raise BadModel(
            f"Tensor {quoted(head.name)} has its data in another file, which is served for the initializers and "
            "constants of the main graph only: save it inside the model."
        )
    return _external_tensor(head)


def _read_head(wire: Wire, start: int, stop: int) -> _Head:
    head = _Head()
    for found in wire.fields(start, stop, TENSOR):
        number, _, value, end = found
        match number:
            case 1:
                _multiply(head, wire, found)
            case 2:
                head.data_type = value
            case 8:
                head.name = wire.text(value, end)
            case 13:
                _add_entry(head, wire, value, end)
            case _:
                head.location = value
    return head


def _multiply(head: _Head, wire: Wire, dims: Field) -> None:
    for dim in wire.integers(dims):
        head.rank += 1
        if dim >= _DIM_LIMIT or head.rank > _RANK_LIMIT:
            raise Malformed("a tensor has a negative dimension or too many of them")
        head.elements *= dim


def _add_entry(head: _Head, wire: Wire, start: int, stop: int) -> None:
    texts = {number: wire.text(value, end) for number, _, value, end in wire.fields(start, stop, ENTRY)}
    key, value = texts.get(1, ""), texts.get(2, "")
    if key in head.external:
        raise BadModel(f"Tensor {quoted(head.name)} gives the {key} of its external data twice.")
    if key in _KEYS:
        head.external[key] = value


def _external_tensor(head: _Head) -> ExternalTensor:
    location = head.external.get("location", "")
    path_parts(location)
    needed_bytes = -(-head.elements * head.bits // 8)
    length_bytes = _whole_number(head, "length", needed_bytes)
    if head.data_type not in BITS or length_bytes < needed_bytes:
        raise BadModel(f"Tensor {quoted(head.name)} declares more than its external data, or a type that has none.")
    return ExternalTensor(head.name, location, _whole_number(head, "offset", 0), length_bytes)


def _whole_number(head: _Head, key: str, default: int) -> int:
    text = head.external.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_LIMIT):
        raise BadModel(f"Tensor {quoted(head.name)}: the {key} of its external data is no whole number.")
    return int(text)
