"""gRPC: prepared messages go out as they are, and answers come back as bytes, to be read when the block is over.

A few channels share the calls, each a connection of its own: HTTP/2 carries many at once. A call has no deadline on
the wire, just as an HTTP request has none; what takes too long is told by the records.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc.aio

from loadtests.generator.block import CONNECTION_LOST, GRPC, NOT_CONNECTED, OK, Answer, Block
from loadtests.generator.records import Records
from loadtests.generator.tls import Tls
from loadtests.generator.transport import Address, Opener

METHOD = "/inference.GRPCInferenceService/ModelInfer"
MOST_CHANNELS = 4
CONNECT_TIMEOUT_S = 5.0
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else equal channels share one connection
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 500),  # else a server that is back after a while is missed for some seconds more
    ("grpc.enable_retries", 0),  # a request that is sent twice is not what was planned
)
# How gRPC words an UNAVAILABLE of its own making; a server's has the server's words.
_NOT_CONNECTED, _LOST = "failed to connect", ("socket closed", "connection reset", "goaway", "broken pipe", "recvmsg")

Metadata = Sequence[tuple[str, str]]


class GrpcTransport:
    """The channels of one block.

    Args:
        address: host and port.
        requests: the pool, each a whole serialised ModelInferRequest.
        block: which of them are sent, and how many channels there are at most.
        records: told what comes of each.
        metadata: sent with each call, such as a key.
        tls: how channels are made; None for plain ones.
    """

    def __init__(
        self,
        address: Address,
        requests: Sequence[bytes],
        block: Block,
        records: Records,
        metadata: Metadata = (),
        tls: Tls | None = None,
    ) -> None:
        host, port = address
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._requests = requests
        self._rows: list[int] = block.rows.tolist()
        self._count = max(1, min(block.connections, MOST_CHANNELS))
        self._records = records
        self._metadata = tuple(metadata)
        self._tls = tls
        self._channels: list[grpc.aio.Channel] = []
        self._calls: list[Any] = []
        self._pending: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Opens the channels, and waits a little for each to be connected."""
        self._loop = asyncio.get_running_loop()
        for _ in range(self._count):
            channel = self._channel()
            self._channels.append(channel)
            # The serialiser is what runs last before the message is handed to the core: the moment it is written.
            self._calls.append(channel.unary_unary(METHOD, self._serialise, None))
        with contextlib.suppress(TimeoutError):
            ready = asyncio.gather(*(channel.channel_ready() for channel in self._channels))
            await asyncio.wait_for(ready, CONNECT_TIMEOUT_S)

    def _channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        return grpc.aio.secure_channel(self._target, self._tls.credentials(), options=_OPTIONS)

    def launch(self, request: int) -> None:
        """Begins the call of this request."""
        task = self._loop.create_task(self._call(request))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def close(self) -> None:
        """Cancels the calls and ends the channels."""
        pending = list(self._pending)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for channel in self._channels:
            await channel.close()

    def _serialise(self, request: int) -> bytes:
        self._records.wrote(request)
        return self._requests[self._rows[request]]

    async def _call(self, request: int) -> None:
        try:
            body = await self._calls[request % self._count](request, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self._ended(request, error)
        else:
            self._records.answered(request, OK, Answer(body, 0))

    def _ended(self, request: int, error: grpc.aio.AioRpcError) -> None:
        words = (error.details() or "").lower()
        if error.code() is grpc.StatusCode.UNAVAILABLE and _NOT_CONNECTED in words:
            self._records.failed(request, NOT_CONNECTED)
        elif error.code() is grpc.StatusCode.UNAVAILABLE and any(one in words for one in _LOST):
            self._records.failed(request, CONNECTION_LOST)
        else:
            self._records.refused(request, GRPC + error.code().value[0])


def with_metadata(metadata: Metadata, tls: Tls | None = None) -> Opener:
    """What makes a transport of these channels whose calls carry this metadata."""

    def opener(address: Address, requests: Sequence[bytes], block: Block, records: Records) -> GrpcTransport:
        return GrpcTransport(address, requests, block, records, metadata, tls)

    return opener
