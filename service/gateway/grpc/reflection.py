"""Server reflection, so that grpcurl and its like need no .proto file: v1alpha, and v1, whose messages are the same.

Source: grpc/doc/server-reflection.md. The package has v1alpha's descriptor alone, so that v1 answers and is not listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.gateway.grpc.readable import OVERFULL, is_read, tolerant

REST_S = 10.0  # between two questions: a stream that brings none is over
QUESTION_BYTES = 4096  # names: a longer one would stand in its answer, too, and no budget holds either
STREAMS_LIMIT = 16  # open ones: they need no key, and are no reason to keep the places of calls
V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: Any, services: Sequence[str], stopping: asyncio.Event) -> None:
    """Makes a server describe its services and itself.

    Args:
        server: of grpc.aio.
        services: their full names.
        stopping: set when the server stops, which ends every stream of questions.
    """
    servicer: Any = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))

    streams = 0

    async def describe(questions: AsyncIterator[Any], context: Any) -> None:
        nonlocal streams
        if streams >= STREAMS_LIMIT:
            sentence = f"{STREAMS_LIMIT} streams of reflection are open already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
        streams += 1
        try:
            async for answer in servicer.ServerReflectionInfo(until(stopping, questions), context):
                await context.write(answer)
        finally:
            streams -= 1

    method = grpc.stream_stream_rpc_method_handler(
        describe,
        request_deserializer=_question,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, V1):
        handlers = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method})
        server.add_generic_rpc_handlers((handlers,))


def _question(message: bytes) -> Any:
    if len(message) > QUESTION_BYTES:
        return OVERFULL
    return tolerant(reflection_pb2.ServerReflectionRequest.FromString)(message)


async def until(stopping: asyncio.Event, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The items that come before `stopping` is set, or before one that cannot be read or is not there in time."""
    stop = asyncio.create_task(stopping.wait())
    try:
        while True:
            following = asyncio.ensure_future(anext(items, None))
            await asyncio.wait({stop, following}, timeout=REST_S, return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                return
            if (item := following.result()) is None or not is_read(item):
                return
            yield item
    finally:
        stop.cancel()
