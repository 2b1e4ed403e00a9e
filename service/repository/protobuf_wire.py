"""Reads protobuf's wire format in place: no copy of the data, a bound on the work, one meaning per file.

Strict where parsers could differ: a singular field given twice or an interpreted field of the wrong wire type is
refused, so that whoever parses the same bytes later sees the same message. Knows no message type.
Source: the "Encoding" chapter of the Protocol Buffers documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VARINT = 0
_FIXED64 = 1
BYTES = 2
_FIXED32 = 5
_FIXED_SIZES: Mapping[int, int] = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10
_TEXT_BYTES = 1 << 16
_WIRE_BITS, _WIRE_MASK = 3, 7
_TAGS_START, _TAGS_STOP = 1 << _WIRE_BITS, 1 << 32
_MORE = 0x80
_UINT64 = (1 << 64) - 1


class Malformed(ValueError):
    """The bytes are not what the wire format, or the rules of a message, allow; the message says where."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one interpreted field may appear: its wire types, and whether at most once in its message."""

    wires: tuple[int, ...]
    once: bool = True


INTEGER = Rule((VARINT,))
BLOB = Rule((BYTES,))
BLOBS = Rule((BYTES,), once=False)
INTEGERS = Rule((VARINT, BYTES), once=False)

# Field number, wire type, then for a varint its value and the position behind it, else start and stop of the content.
Field = tuple[int, int, int, int]


class Wire:
    """One serialized message, with what is left of the work allowed on it.

    Args:
        data: the whole file.
        fields_limit: fields and messages together; reading more raises Malformed.
    """

    def __init__(self, data: bytes, fields_limit: int) -> None:
        self._data = data
        self._fields_limit = fields_limit
        self._fields_left = fields_limit

    def fields(self, start: int, stop: int, rules: Mapping[int, Rule]) -> Iterator[Field]:
        """The fields of the message in `data[start:stop]` that `rules` names, in order; all others are skipped.

        Raises:
            Malformed: broken wire format, a rule broken, or too many fields.
        """
        self._spend()
        data = self._data
        seen: set[int] = set()
        at = start
        while at < stop:
            self._spend()
            tag, at = _varint(data, at, stop)
            if not _TAGS_START <= tag < _TAGS_STOP:
                # Other parsers cut such a tag to 32 bits, and would see a field that was skipped here.
                raise Malformed(f"there is no field number at byte {at}")
            wire = tag & _WIRE_MASK
            if wire == VARINT:
                value, end = _varint(data, at, stop)
            else:
                length, value = _varint(data, at, stop) if wire == BYTES else (_fixed_size(wire, at), at)
                end = value + length
                if end > stop:
                    raise Malformed(f"a field at byte {at} goes past the end of its message")
            number = tag >> _WIRE_BITS
            rule = rules.get(number)
            if rule is not None:
                if wire not in rule.wires or (rule.once and number in seen):
                    raise Malformed(f"field {number} at byte {at} has the wrong type or is there twice")
                seen.add(number)
                yield number, wire, value, end
            at = end

    def integers(self, field: Field) -> Iterator[int]:
        """The integers of a repeated field, packed or not, as unsigned 64-bit values."""
        _, wire, value, stop = field
        if wire == VARINT:
            yield value
            return
        at = value
        while at < stop:
            self._spend()
            value, at = _varint(self._data, at, stop)
            yield value

    def text(self, start: int, stop: int) -> str:
        """A string field.

        Raises:
            Malformed: not UTF-8, or longer than any name.
        """
        if stop - start > _TEXT_BYTES:
            raise Malformed(f"the text at byte {start} is longer than {_TEXT_BYTES} bytes")
        try:
            return self._data[start:stop].decode()
        except UnicodeDecodeError:
            raise Malformed(f"the text at byte {start} is not UTF-8") from None

    def _spend(self) -> None:
        self._fields_left -= 1
        if self._fields_left < 0:
            raise Malformed(f"it has more than {self._fields_limit} fields and messages")


def _fixed_size(wire: int, at: int) -> int:
    try:
        return _FIXED_SIZES[wire]
    except KeyError:
        raise Malformed(f"there is no wire type {wire}, at byte {at}") from None


def _varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    # Nearly all numbers have one byte.
    if at < stop and data[at] < _MORE:
        return data[at], at + 1
    value = 0
    for position in range(at, min(stop, at + _VARINT_BYTES)):
        byte = data[position]
        value |= (byte & ~_MORE) << (7 * (position - at))
        if byte < _MORE:
            return value & _UINT64, position + 1
    raise Malformed(f"the number at byte {at} does not end")
