"""ModelInfer and ModelStreamInfer: a leased version, counted, run and answered as over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

from tritonclient.grpc import service_pb2

from service.core.clock import Clock
from service.core.contract import InferRequest, InferResponse, ModelRef
from service.core.errors import BadInput, Draining, Rejected
from service.gateway.budget import ByteBudget, Share, beside_bytes
from service.gateway.classification import classified
from service.gateway.grpc import messages, traced
from service.gateway.grpc.calls import Call, Calls, Context
from service.gateway.grpc.gathering import Gathering
from service.gateway.grpc.messages import Encoded
from service.gateway.grpc.readable import ARRIVED_BYTES, check_readable
from service.gateway.grpc.stream import answers_to
from service.gateway.heavy import HEAVY_BYTES, Heavy, is_heavy_answer, is_large
from service.gateway.parameters import ID_LIMIT
from service.gateway.problems import CallProblem, call_problem_of
from service.gateway.region_tensors import Target
from service.gateway.shared_memory import SharedMemory
from service.gateway.turns import Turns
from service.observe.logs import REQUEST_ID
from service.observe.tracing import Tracing
from service.serving.catalog import Catalog
from service.serving.counted import Counted
from service.serving.refusal import check_room
from service.serving.servable import Servable

STREAM = "ModelStreamInfer"
STREAMS_LIMIT = 512  # open ones, of the 4,096 calls at once: nobody can tell one that rests from one half sent
HEAVY_PARAMETERS = 1024  # of a request and its tensors: a millisecond
_UNTAKEN_SHARE = 2  # of the budget, a half: for what clients of streams ask and do not take; others go on
_ENDED_BY_ERRORS = "triton_grpc_error"  # Triton's inference protocols, "GRPC Status Codes"


class _Asked(NamedTuple):
    """One request of a stream, and its call."""

    request: Any
    call: Call


class _Kept(NamedTuple):
    """By a stream: what its requests and answers hold of the budget, and the calls that have not ended."""

    shares: set[Share]
    calls: set[Call]

    def give_back(self, *shares: Share) -> None:
        for share in shares:
            share.end()
        self.shares.difference_update(shares)


class _Answer(NamedTuple):
    """To one request of a stream: its message, what it holds until it is taken, and what went wrong, if anything."""

    message: Any
    size_bytes: int
    shares: tuple[Share, ...] = ()
    problem: CallProblem | None = None


class Inference:
    """Answers inference requests.

    Args:
        calls: runs handlers.
        catalog: who answers.
        clock: monotonic seconds, for deadlines.
        shared_memory: the regions in which tensors may lie.
        tracing: follows requests.
        stopping: set when the server reads no more from streams.
        turns: of the loop, which requests share.
    """

    def __init__(
        self,
        calls: Calls,
        catalog: Catalog,
        clock: Clock,
        shared_memory: SharedMemory,
        tracing: Tracing,
        stopping: asyncio.Event,
        turns: Turns,
    ) -> None:
        self._turns = turns
        self._streams = 0
        self._heavy = Heavy()
        self._tracing = tracing
        self._calls = calls
        self._catalog = catalog
        self._clock = clock
        self._shared_memory = shared_memory
        self._stopping = stopping
        self._gathering = Gathering(clock)
        self._untaken = ByteBudget(calls.budget.limit_bytes // _UNTAKEN_SHARE)

    def infer(self, request: Any, call: Call, method: str = "ModelInfer") -> Awaitable[Encoded]:
        """The ModelInferResponse to one ModelInferRequest, which came in by `method`."""
        return self._followed(request, call, method) if self._tracing.on else self._infer(request, call, method)

    async def _followed(self, request: Any, call: Call, method: str) -> Encoded:
        with traced.followed(self._tracing, call, request.model_name, method):
            return await self._infer(request, call, method)

    async def _infer(self, request: Any, call: Call, method: str) -> Encoded:
        if (turn := self._turns.take()) is not None:
            await turn
        ref = ModelRef(request.model_name, request.model_version or None)
        with self._catalog.lease(ref) as servable, Counted(servable.statistics) as counted:
            check_room(servable)
            regions = self._shared_memory.for_request(call.check_shared_memory)
            if _is_heavy(request, ARRIVED_BYTES.get()):
                read = partial(messages.decode, request, servable.inputs, regions)
                asked, targets = await self._heavy.do("read a request", read)
            else:
                asked, targets = messages.decode(request, servable.inputs, regions)
            read_bytes = regions.read_bytes
            binary_bytes = sum(map(len, request.raw_input_contents)) + read_bytes
            call.share.take(read_bytes + beside_bytes(asked.inputs, binary_bytes))
            if servable.max_batch_size > 1:
                await self._gathering.join()
            with self._catalog.holder(ref, servable, asked.sequence) as holder:
                counted.by(holder.statistics)
                answer = await holder.infer(asked, call.deadline(self._clock.now_s()), origin=call.sender)
            counted.answered(answer)
            write = partial(_written, answer, asked, targets, holder, streamed=method == STREAM)
            heavy = is_heavy_answer(answer.outputs, asked.outputs)
            response = await self._heavy.write(write) if heavy else write()
            call.share.take(response.size_bytes)
            return response

    async def stream(self, requests: AsyncIterator[Any], context: Context) -> AsyncGenerator[Any, None]:
        """The answers to a stream of requests, each when it is there; `id` tells which is whose.

        A request that fails is answered by its sentence, or ends the stream by its code if the client asked for that.
        """
        opened = await self._calls.open(context, STREAM)
        ends = opened.metadata.get(_ENDED_BY_ERRORS) == "true"
        kept = _Kept(set(), set())
        self._streams += 1
        try:
            if self._streams > STREAMS_LIMIT:
                raise Rejected(f"{STREAMS_LIMIT} streams are open already")
            arrive, answer = partial(self._arrived, context, opened, kept), partial(self._of_stream, kept)
            found = answers_to(
                requests, answer, turn=_turn, size_bytes=_size_bytes, arrive=arrive, stopping=self._stopping
            )
            async with aclosing(found) as answers:
                async for one in answers:
                    if one.problem is not None and ends:
                        await self._calls.end(context, one.problem)
                    yield one.message
                    kept.give_back(*one.shares)
                    del one
        except (Draining, BadInput, Rejected) as error:
            await self._calls.end(context, call_problem_of(error, ""))
        finally:
            self._streams -= 1
            kept.give_back(*kept.shares)
            for call in kept.calls:
                REQUEST_ID.set(call.id)
                self._calls.ended("CANCELLED", call)

    def _arrived(self, context: Context, opened: Call, kept: _Kept, request: Any) -> _Asked | _Answer:
        """One request of a stream, which holds its share of the budget from now on, also while others are first."""
        call = self._calls.call(context, STREAM, opened)
        kept.shares.add(call.share)
        kept.calls.add(call)
        try:
            self._calls.admit(call)
            call.share.take(ARRIVED_BYTES.get())
        except Exception as error:
            return self._failure(error, call, kept, request.id)
        return _Asked(request, call)

    async def _of_stream(self, kept: _Kept, asked: _Asked | _Answer) -> _Answer:
        """The answer to one request of a stream, which holds its share of the budget until it is taken."""
        if isinstance(asked, _Answer):
            return asked
        call, untaken = asked.call, Share(self._untaken)
        try:
            response = await self.infer(asked.request, call, STREAM)
            message, size_bytes = response
            untaken.take(min(size_bytes, self._untaken.large_limit_bytes))  # one alone may be larger
        except Exception as error:
            return self._failure(error, call, kept, asked.request.id)
        kept.shares.add(untaken)
        kept.calls.discard(call)
        call.share.end()
        call.share.take(size_bytes)  # its request is gone
        self._calls.ended("OK", call)
        if type(message) is not bytes:
            messages.end(message)
            message = service_pb2.ModelStreamInferResponse(infer_response=message)
        return _Answer(message, size_bytes, (call.share, untaken))

    def _failure(self, error: Exception, call: Call, kept: _Kept, request_id: str) -> _Answer:
        kept.give_back(call.share)
        kept.calls.discard(call)
        problem = self._calls.failed(error, call)
        # What is no id is not sent back: it could be as large as a message, and no budget holds it.
        empty = service_pb2.ModelInferResponse(id=request_id if len(request_id) <= ID_LIMIT else "")
        told = service_pb2.ModelStreamInferResponse(error_message=problem.sentence, infer_response=empty)
        return _Answer(told, told.ByteSize(), (), problem)


def _turn(request: Any) -> tuple[str, Any] | None:
    """What a request of a stream has in common with others; what is no request ends the stream."""
    check_readable(request)
    return messages.sequence_of(request)


def _size_bytes(item: Any) -> int:
    """Bytes of the request that was read last, or of an answer; none that protobuf is asked for: it would write all."""
    return item.size_bytes if isinstance(item, _Answer) else ARRIVED_BYTES.get()


def _is_heavy(request: Any, size_bytes: int) -> bool:
    texts = [tensor for tensor in request.inputs if tensor.datatype == "BYTES"]
    if any("shared_memory_region" in tensor.parameters for tensor in texts):
        return True
    if size_bytes <= HEAVY_BYTES:
        return False
    if texts or not request.raw_input_contents:
        return True
    return sum(len(one.parameters) for one in (request, *request.inputs, *request.outputs)) > HEAVY_PARAMETERS


def _written(
    answer: InferResponse,
    asked: InferRequest,
    targets: Mapping[str, Target],
    servable: Servable,
    *,
    streamed: bool,
) -> Encoded:
    answer = classified(answer, asked.outputs, servable.config.labels_of, batched=servable.batched)
    if is_large(answer.outputs):
        return messages.write(answer, targets, streamed=streamed)
    return messages.encode(answer, targets)
