"""The wire format is read as protobuf reads it, in place, within a bound, and never in a second meaning."""

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from service.repository.protobuf_wire import BLOB, BLOBS, INTEGER, INTEGERS, Malformed, Wire
from tests.unit.repository.onnx_models import bytes_field, number_field, varint

RULES = {1: INTEGER, 2: BLOB, 3: BLOBS, 4: INTEGERS}


def fields(data: bytes, limit: int = 1000) -> list[tuple[int, int, int, int]]:
    return list(Wire(data, limit).fields(0, len(data), RULES))


def integers(data: bytes, limit: int = 1000) -> list[int]:
    wire = Wire(data, limit)
    return [number for found in wire.fields(0, len(data), RULES) for number in wire.integers(found)]


def test_nothing_is_no_field() -> None:
    assert fields(b"") == []


@given(st.integers(0, 2**64 - 1))
def test_reads_any_unsigned_number(number: int) -> None:
    data = number_field(1, number)
    assert fields(data) == [(1, 0, number, len(data))]


@given(st.binary(max_size=300))
def test_gives_the_place_of_bytes(content: bytes) -> None:
    data = bytes_field(2, content)
    ((number, _, start, stop),) = fields(data)
    assert (number, data[start:stop]) == (2, content)


def test_skips_what_no_rule_names_of_any_wire_type() -> None:
    skipped = number_field(9, 300) + bytes_field(10, b"x" * 200) + varint(11 << 3 | 1) + bytes(8)
    data = skipped + varint(12 << 3 | 5) + bytes(4) + number_field(1, 7)
    assert [found[:3] for found in fields(data)] == [(1, 0, 7)]


def test_reads_a_message_inside_its_bounds_only() -> None:
    inner = number_field(1, 5)
    data = b"\xff\xff" + inner + b"\xff\xff"
    assert [found[2] for found in Wire(data, 9).fields(2, 2 + len(inner), RULES)] == [5]


@pytest.mark.parametrize(
    "inner",
    [
        number_field(1, 300)[:-1],
        bytes_field(2, b"abc")[:-1],
        varint(2 << 3 | 2) + b"\x80",
        varint(12 << 3 | 5) + bytes(3),
        varint(500 << 3)[:-1],
    ],
)
def test_a_field_never_takes_bytes_from_behind_its_message(inner: bytes) -> None:
    data = inner + b"\x01" * 20
    with pytest.raises(Malformed):
        list(Wire(data, 9).fields(0, len(inner), RULES))


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_integers_packed_and_unpacked_are_the_same(numbers: list[int]) -> None:
    packed = bytes_field(4, b"".join(map(varint, numbers)))
    unpacked = b"".join(number_field(4, number) for number in numbers)
    assert integers(packed) == integers(unpacked) == numbers


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x08", "does not end"),
        (b"\x08\x80", "does not end"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "does not end"),
        (b"\x80", "does not end"),
        (b"\x12\x05abcd", "past the end"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "past the end"),
        (b"\x0d\x00\x00\x00", "past the end"),
        (b"\x4b\x4c", "no wire type 3"),
        (b"\x4e", "no wire type 6"),
        (b"\x00\x01", "no field number"),
        # Field 7 to a parser that cuts tags to 32 bits, an unknown one to a parser that does not.
        (varint((1 << 35) | 0x3A) + b"\x00", "no field number"),
    ],
)
def test_broken_bytes_are_malformed(data: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        fields(data)


@pytest.mark.parametrize("data", [number_field(1, 1) * 2, bytes_field(2, b"") * 2])
def test_a_singular_field_given_twice_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="twice"):
        fields(data)


@pytest.mark.parametrize("data", [bytes_field(1, b""), number_field(2, 1), number_field(3, 1), b"\x25" + bytes(4)])
def test_an_interpreted_field_of_another_wire_type_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="wrong type"):
        fields(data)


def test_a_repeated_field_may_be_given_twice() -> None:
    assert len(fields(bytes_field(3, b"a") * 2)) == 2


@pytest.mark.parametrize("data", [number_field(9, 1) * 101, bytes_field(4, b"\x01" * 101)])
def test_the_work_is_bounded(data: bytes) -> None:
    with pytest.raises(Malformed, match="more than 100 fields"):
        integers(data, limit=100)


def test_text_is_short_utf8() -> None:
    wire = Wire("é".encode() + b"\xff" + b"a" * 70_000, 1)
    assert wire.text(0, 2) == "é"
    with pytest.raises(Malformed, match="not UTF-8"):
        wire.text(0, 3)
    with pytest.raises(Malformed, match="longer than"):
        wire.text(3, 70_003)


@given(st.binary(max_size=60))
def test_what_is_read_from_random_bytes_is_what_protobuf_reads(data: bytes) -> None:
    """EnumValueDescriptorProto has a singular string 1 and a singular int32 2; protobuf is the judge."""
    rules = {1: BLOB, 2: INTEGER}
    wire = Wire(data, 1000)
    try:
        found = {
            number: value if number == 2 else data[value:end]
            for number, _, value, end in wire.fields(0, len(data), rules)
        }
    except Malformed:
        return
    message = descriptor_pb2.EnumValueDescriptorProto.FromString(data)
    assert found.get(1, b"") == message.name.encode()
    assert found.get(2, 0) & 0xFFFF_FFFF == message.number & 0xFFFF_FFFF
