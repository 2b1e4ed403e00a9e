"""grpc.aio as a part: binds first, tells where it listens, and stops when it is told, in two steps.

Knows nothing of what the calls do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from service.gateway.grpc.pairs import Pairs
from service.gateway.grpc.reflection import add_reflection
from service.gateway.tls import HANDSHAKE_LIMIT_S, Certificate

_MESSAGE_OVERHEAD_BYTES = 64 << 10  # names, shapes and parameters beside the tensors
_METADATA_LIMIT_BYTES = 16 << 10
_CALLS_LIMIT = 4096  # beyond, a call is refused at once: RESOURCE_EXHAUSTED
_PENDING_LIMIT = 16 << 10  # not seen by the loop yet: beyond, gRPC ends calls as CANCELLED, by default from 1000 on
_CALLS_OF_CONNECTION_LIMIT = 1024  # beyond, a call waits at its client
_PINGS_APART_MS = 10_000
_SILENCE_MS = 120_000  # after which a client is asked whether it is still there
_IDLE_MS = 75_000  # without a call: beyond, the connection is closed, and the client's next call opens another
_CONNECTIONS_LIMIT = 4096  # beyond, a connection is closed as it comes

Register = Callable[[Any], None]


class ByName:
    """A server to which methods are added that it looks up by their names, a call at a time.

    The generated code registers each method besides, and grpc.aio then waits anew for every one of them at every call.

    Args:
        server: of grpc.aio.
    """

    def __init__(self, server: Any) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Leaves it at the names."""


class GrpcServer:
    """One listening port and the calls that come in.

    Args:
        register: adds the services to the server.
        services: their full names, for reflection.
        host: address to bind.
        port: 0 for a free one.
        max_body_bytes: the largest message.
        drain_timeout_s: how long calls in flight may take once stopping has begun.
        stopping: set when it begins, so that calls end which would otherwise go on for ever.
        certificate: shown to clients; None for plain connections.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        register: Register,
        services: Sequence[str],
        host: str,
        port: int,
        *,
        max_body_bytes: int,
        drain_timeout_s: float,
        stopping: asyncio.Event,
        certificate: Certificate | None = None,
    ) -> None:
        self._drain_timeout_s = drain_timeout_s
        self._stopping = stopping
        self._hurry = asyncio.Event()
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", max_body_bytes + _MESSAGE_OVERHEAD_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", _METADATA_LIMIT_BYTES),
                ("grpc.absolute_max_metadata_size", _METADATA_LIMIT_BYTES),
                ("grpc.max_connection_idle_ms", _IDLE_MS),
                ("grpc.max_allowed_incoming_connections", _CONNECTIONS_LIMIT),
                # Else the window of a call that nobody reads grows as the line is quick: to 128 MiB on loopback.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", _PINGS_APART_MS),
                ("grpc.server.max_pending_requests", _PENDING_LIMIT),
                ("grpc.server.max_pending_requests_hard_limit", _PENDING_LIMIT),
                ("grpc.max_concurrent_streams", _CALLS_OF_CONNECTION_LIMIT),
                ("grpc.keepalive_time_ms", _SILENCE_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_LIMIT_S * 1e3)),
            ),
            maximum_concurrent_rpcs=_CALLS_LIMIT,
        )
        register(self._server)
        add_reflection(ByName(self._server), services, stopping)
        self._scheme = "grpc" if certificate is None else "grpcs"
        self.host = f"[{host}]" if ":" in host else host
        try:
            self.port: int = self._bind(f"{self.host}:{port}", certificate)
        except RuntimeError as error:
            raise OSError("address already in use, or not one of this machine") from error

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{self._scheme}://{self.host}:{self.port}"

    def _bind(self, address: str, certificate: Certificate | None) -> int:
        if certificate is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, Pairs(certificate).credentials()))

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()

    def hurry(self) -> None:
        """Stops waiting for calls in flight."""
        self._hurry.set()

    async def stop(self) -> None:
        """Accepts no more calls, answers those in flight, and closes."""
        self._stopping.set()
        stopping = asyncio.create_task(self._server.stop(self._drain_timeout_s))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await self._server.stop(0)
        hurry.cancel()
        await stopping


def _is_news(record: logging.LogRecord) -> bool:
    # An answer to a client that has gone, or metadata that is no text: nothing failed here, and any client could fill
    # the log so.
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in ("ExecuteBatchError", "UnicodeDecodeError")
