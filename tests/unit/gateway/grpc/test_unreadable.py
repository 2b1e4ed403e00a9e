"""What is no message of its method is answered as such; what is one passes unchanged."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.core.errors import BadInput
from service.gateway.grpc.messages import sequence_of, size_bytes_of
from service.gateway.grpc.unreadable import Registrar, Unreadable, check_readable

GARBAGE = b"\xff\xff\xff"


class Server:
    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.handlers.update({f"{service}/{name}": handler for name, handler in handlers.items()})


def readers() -> dict[str, Any]:
    server = Server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
        service_pb2_grpc.GRPCInferenceServiceServicer(), Registrar(server)
    )
    return {name.rpartition("/")[2]: handler.request_deserializer for name, handler in server.handlers.items()}


def test_every_method_gets_something_in_place_of_garbage() -> None:
    found = readers()
    assert found.keys() >= {"ModelInfer", "ModelStreamInfer", "ServerLive", "RepositoryModelLoad"}
    with pytest.raises(DecodeError):
        service_pb2.ModelInferRequest.FromString(GARBAGE)
    for read in found.values():
        with pytest.raises(BadInput, match="the message is damaged"):
            check_readable(read(GARBAGE))


def test_what_can_be_read_is_handed_on_as_it_is() -> None:
    message = service_pb2.ModelInferRequest(model_name="digits", id="7")
    read = readers()["ModelInfer"](message.SerializeToString())
    assert read == message
    check_readable(read)


def test_it_is_as_empty_as_an_empty_request() -> None:
    nothing, empty = Unreadable(), service_pb2.ModelInferRequest()
    assert (nothing.id, nothing.model_name, sequence_of(nothing)) == (empty.id, empty.model_name, sequence_of(empty))
    assert size_bytes_of(nothing) == size_bytes_of(empty) == 0


def test_other_errors_are_not_hidden() -> None:
    def fails(_: bytes) -> Any:
        raise MemoryError

    server = Server()
    method = grpc.unary_unary_rpc_method_handler(lambda *_: None, request_deserializer=fails)
    Registrar(server).add_registered_method_handlers("s", {"m": method})
    with pytest.raises(MemoryError):
        server.handlers["s/m"].request_deserializer(b"")
