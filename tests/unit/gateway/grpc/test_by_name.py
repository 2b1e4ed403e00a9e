"""Methods that generated code adds are looked up by name, and none is registered besides."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2_grpc

from service.gateway.grpc.server import ByName


class Server:
    """Takes what is added."""

    def __init__(self) -> None:
        self.generic: list[Any] = []
        self.registered: list[str] = []

    def add_generic_rpc_handlers(self, handlers: tuple[Any, ...]) -> None:
        self.generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, _handlers: object) -> None:
        self.registered.append(service)


def test_the_methods_are_there_by_name_alone() -> None:
    plain, named = Server(), Server()
    health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), plain)
    health_pb2_grpc.add_HealthServicer_to_server(health_pb2_grpc.HealthServicer(), ByName(named))
    assert plain.registered == ["grpc.health.v1.Health"]  # what the generated code does of itself
    assert named.registered == []
    assert [handler.service_name() for handler in named.generic] == ["grpc.health.v1.Health"]
