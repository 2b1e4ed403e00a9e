"""Messages as they arrive: their size, and those that are no protobuf or too many fields, given on as a mark of that.

So they are answered like any bad request; grpc.aio itself would answer by the name of a Python class, and write a
traceback for each. A field of two bytes takes a hundred once it is read, so they are counted before. Knows of messages
where they hold more fields than values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from service.core.errors import BadInput, TooLarge
from service.gateway.grpc.written import unless_written
from service.repository.protobuf_wire import BLOBS, Malformed, Wire

UNREADABLE: Final = object()
OVERFULL: Final = object()
FIELDS_LIMIT = 8192  # of a message and its tensors: their raw contents, outputs and parameters
_TENSORS = MappingProxyType({5: BLOBS, 6: BLOBS})  # of a ModelInferRequest, inputs and outputs: no other has these
_COUNTED_BYTES = 256 << 10  # in fewer there is no room for many

ARRIVED_BYTES: Final = ContextVar("arrived_bytes", default=0)
"""Of the message that was read last: grpc.aio reads a call's in the task that then runs its handler."""

PROBES = frozenset({"ServerLive", "ServerReady", "Check"})
"""Methods that are registered besides: the core keeps their calls apart, so that they wait for no crowd of others."""

Deserializer = Callable[[bytes], Any]


def check_readable(request: object) -> None:
    """Raises `BadInput` or `TooLarge` for what stands in for a message that could not be read."""
    if request is UNREADABLE:
        raise BadInput("the message is not the protobuf message that this method takes")
    if request is OVERFULL:
        raise TooLarge(f"the message has more than {FIELDS_LIMIT} fields, or is not protobuf")


def is_read(item: object) -> bool:
    """Whether it is a message, and does not stand in for one."""
    return item is not UNREADABLE and item is not OVERFULL


def tolerant(deserializer: Deserializer) -> Deserializer:
    """`deserializer`, with `UNREADABLE` for what it refuses and `OVERFULL` for what it is spared; notes the size."""

    def read(message: bytes) -> Any:
        ARRIVED_BYTES.set(len(message))
        if len(message) > _COUNTED_BYTES and _is_overfull(message):
            return OVERFULL
        try:
            return deserializer(message)
        except DecodeError:
            return UNREADABLE

    return read


def _is_overfull(message: bytes) -> bool:
    wire = Wire(message, FIELDS_LIMIT + 1)
    try:
        for _, _, start, stop in wire.fields(0, len(message), _TENSORS):
            for _ in wire.fields(start, stop, {}):
                pass
    except Malformed:
        return True
    return False


class TolerantServer:
    """A server of grpc.aio to which the stubs add services: each of their methods reads tolerantly.

    A method that takes one message gets the call before it, to read it in a time of its own choice: to a client that is
    the same.

    The generated code hands each method over twice; it is passed on once, to be looked up by its name.

    Args:
        server: of grpc.aio.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing: the same methods come by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds the methods of a service."""
        readers = {name: _reading(handler) for name, handler in handlers.items()}
        probes = {name: reader for name, reader in readers.items() if name in PROBES}
        self._server.add_registered_method_handlers(service, probes)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, readers),))


def _reading(handler: Any) -> Any:
    """`handler`, which reads its messages itself, and tolerantly, and may answer by what is written already."""
    return handler._replace(
        request_deserializer=tolerant(handler.request_deserializer),
        response_serializer=unless_written(handler.response_serializer),
        request_streaming=True,
        unary_unary=None,
        unary_stream=None,
        stream_unary=handler.stream_unary or handler.unary_unary,
        stream_stream=handler.stream_stream or handler.unary_stream,
    )
