"""Messages that are no protobuf of their method's type: handlers get them as such, and answer them as any bad request.

grpc.aio itself would end the call with UNKNOWN, count nothing, and log a traceback for each. Knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from service.core.errors import BadInput


class Unreadable:
    """In place of a message that could not be read; as empty as an empty ModelInferRequest."""

    id = ""
    model_name = ""
    parameters: Mapping[str, Any] = {}

    def ByteSize(self) -> int:
        """Nothing was kept."""
        return 0


def check_readable(message: Any) -> None:
    """Raises BadInput if `message` could not be read."""
    if isinstance(message, Unreadable):
        raise BadInput("the message is damaged, or not of this method's type")


class Registrar:
    """Registers a service's handlers with a server, so that they get `Unreadable` where they would not be called.

    Args:
        server: of grpc.aio.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: generated code hands over each method twice, and the other way is quicker."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Hands on every method of a service."""
        tolerant = {
            name: handler._replace(request_deserializer=_tolerant(handler.request_deserializer))
            for name, handler in handlers.items()
        }
        self._server.add_registered_method_handlers(service, tolerant)


def _tolerant(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_or_not(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError:
            return Unreadable()

    return read_or_not
