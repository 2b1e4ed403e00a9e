"""What is no protobuf becomes a bad request, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.core.errors import BadInput, TooLarge
from service.gateway.grpc.readable import (
    FIELDS_LIMIT,
    OVERFULL,
    UNREADABLE,
    TolerantServer,
    check_readable,
    is_read,
    tolerant,
)

GARBAGE = b"\xff\xff\xff"


class Registry:
    """A server as stubs see it."""

    def __init__(self) -> None:
        self.generic: list[Any] = []
        self.registered: dict[str, dict[str, Any]] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self.generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.registered[service] = handlers


class Details:
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


def test_a_message_is_read_as_before() -> None:
    message = health_pb2.HealthCheckRequest(service="m")
    assert tolerant(health_pb2.HealthCheckRequest.FromString)(message.SerializeToString()) == message


def test_what_is_no_message_is_told_apart() -> None:
    read = tolerant(health_pb2.HealthCheckRequest.FromString)(GARBAGE)
    assert read is UNREADABLE
    with pytest.raises(BadInput, match="not the protobuf message that this method takes"):
        check_readable(read)
    check_readable(health_pb2.HealthCheckRequest())


def counted(count: int) -> bytes:
    """A message of so many fields of a hundred bytes."""
    return (b"\x0a\x62" + b"x" * 98) * count


def tensor(field: int, content: bytes) -> bytes:
    """A message of one tensor alone."""
    return bytes([field << 3 | 2, *((len(content) >> shift & 127) | 128 for shift in (0, 7, 14)), 0]) + content


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (counted(FIELDS_LIMIT), True),
        (counted(FIELDS_LIMIT + 1), False),
        (b"\x0a\x00" * 100_000, True),  # too few bytes to be counted
        (b"\x0a\xff\xff\xff\x01" + bytes((4 << 20) - 1), True),  # one field, however large
        (b"\x0a\xff" + GARBAGE * 200_000, False),
        (tensor(5, counted(FIELDS_LIMIT - 2)), True),
        (tensor(5, counted(FIELDS_LIMIT - 1)), False),
        (tensor(6, counted(FIELDS_LIMIT - 1)), False),
        (tensor(5, tensor(5, b"\x42\x00" * 200_000)), True),  # texts, which are values
    ],
)
def test_a_large_message_of_countless_fields_is_not_given_to_its_reader(message: bytes, read: bool) -> None:
    """Reading them takes fifty times their bytes, of which no budget knows."""
    given = tolerant(lambda _: "read")(message)
    assert (given == "read") is read is is_read(given)
    if not read:
        assert given is OVERFULL
        with pytest.raises(TooLarge, match="more than 8192 fields"):
            check_readable(given)


def test_another_error_of_the_reader_is_not_swallowed() -> None:
    def broken(_: bytes) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        tolerant(broken)(GARBAGE)


def test_each_method_of_a_service_is_found_once_and_reads_tolerantly() -> None:
    registry = Registry()
    health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), TolerantServer(registry))
    (generic,) = registry.generic
    assert registry.registered["grpc.health.v1.Health"].keys() == {"Check"}, "a probe, which waits in no line"
    for method in ("Check", "Watch"):
        handler = generic.service(Details(f"/grpc.health.v1.Health/{method}"))
        assert handler.request_deserializer(GARBAGE) is UNREADABLE
        assert handler.request_streaming, "it reads its message itself"
        assert handler.stream_unary or handler.stream_stream
    assert generic.service(Details("/grpc.health.v1.Health/None")) is None
