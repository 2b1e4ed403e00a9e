"""What is no protobuf becomes a bad request, and nothing else changes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.core.errors import BadInput
from service.gateway.grpc.readable import UNREADABLE, TolerantServer, check_readable, tolerant

GARBAGE = b"\xff\xff\xff"
METHOD = "/grpc.health.v1.Health/Check"


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


def test_another_error_of_the_reader_is_not_swallowed() -> None:
    def broken(_: bytes) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        tolerant(broken)(GARBAGE)


def test_each_method_of_a_service_reads_tolerantly_however_it_is_found() -> None:
    registry = Registry()
    health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), TolerantServer(registry))
    (generic,) = registry.generic
    assert isinstance(generic, grpc.GenericRpcHandler)
    found = [generic.service(Details(METHOD)), *registry.registered["grpc.health.v1.Health"].values()]
    assert len(found) >= 3
    for handler in found:
        assert handler.request_deserializer(GARBAGE) is UNREADABLE
        assert handler.unary_unary or handler.unary_stream
    assert generic.service(Details("/grpc.health.v1.Health/None")) is None
