"""Messages that are no protobuf: given to the handlers as `UNREADABLE`, so that they are answered like any bad request.

grpc.aio itself would answer by the name of a Python class, and write a traceback for each. Knows no message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from service.core.errors import BadInput

UNREADABLE: Final = object()

Deserializer = Callable[[bytes], Any]


def check_readable(request: object) -> None:
    """Raises `BadInput` for what stands in for a message that could not be read."""
    if request is UNREADABLE:
        raise BadInput("the message is not the protobuf message that this method takes")


def tolerant(deserializer: Deserializer) -> Deserializer:
    """`deserializer`, with `UNREADABLE` for what it refuses."""

    def read(message: bytes) -> Any:
        try:
            return deserializer(message)
        except DecodeError:
            return UNREADABLE

    return read


class TolerantServer:
    """A server of grpc.aio to which the stubs add services: each of their methods reads tolerantly.

    Args:
        server: of grpc.aio.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds handlers that are asked for each call."""
        self._server.add_generic_rpc_handlers(tuple(_Tolerant(handler) for handler in handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds handlers by the method's name."""
        self._server.add_registered_method_handlers(service, {name: _reads(one) for name, one in handlers.items()})


class _Tolerant(grpc.GenericRpcHandler):
    def __init__(self, handler: grpc.GenericRpcHandler) -> None:
        self._handler = handler

    def service(self, handler_call_details: Any) -> Any:
        found = self._handler.service(handler_call_details)
        return None if found is None else _reads(found)


def _reads(handler: Any) -> Any:
    return handler._replace(request_deserializer=tolerant(handler.request_deserializer))
