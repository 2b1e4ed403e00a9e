"""ModelInfer and ModelStreamInfer: a leased version, counted, run and answered as over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tritonclient.grpc import service_pb2

from service.core.clock import Clock
from service.core.contract import ModelRef
from service.gateway.classification import classified
from service.gateway.grpc import messages
from service.gateway.grpc.calls import Call, Calls, Context
from service.gateway.grpc.stream import answers_to
from service.gateway.shared_memory import SharedMemory
from service.serving.catalog import Catalog
from service.serving.counted import Counted


class Inference:
    """Answers inference requests.

    Args:
        calls: runs handlers.
        catalog: who answers.
        clock: monotonic seconds, for deadlines.
        shared_memory: the regions in which tensors may lie.
    """

    def __init__(self, calls: Calls, catalog: Catalog, clock: Clock, shared_memory: SharedMemory) -> None:
        self._calls = calls
        self._catalog = catalog
        self._clock = clock
        self._shared_memory = shared_memory

    async def infer(self, request: Any, call: Call) -> Any:
        """The ModelInferResponse to one ModelInferRequest."""
        began_s = self._clock.now_s()
        ref = ModelRef(request.model_name, request.model_version or None)
        with self._catalog.lease(ref) as servable, Counted(servable.statistics) as counted:
            regions = self._shared_memory.for_request(call.check_shared_memory)
            asked, targets = messages.decode(request, servable.inputs, regions)
            holder = self._catalog.holder(ref, servable, asked.sequence)
            answer = await holder.infer(asked, call.deadline(began_s), origin=call.origin)
            counted.answered(answer)
            answer = classified(answer, asked.outputs, servable.config.labels, batched=servable.batched)
            return messages.encode(answer, targets)

    async def stream(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        """The answers to a stream of requests, each when it is there; `id` tells which is whose."""

        async def answer(request: Any) -> Any:
            call = self._calls.call(context)
            try:
                response = await self.infer(request, call)
            except Exception as error:
                problem = self._calls.failed(error, call)
                empty = service_pb2.ModelInferResponse(id=request.id)
                return service_pb2.ModelStreamInferResponse(error_message=problem.sentence, infer_response=empty)
            self._calls.succeeded()
            response.parameters["triton_final_response"].bool_param = True
            return service_pb2.ModelStreamInferResponse(infer_response=response)

        async for one in answers_to(requests, answer):
            yield one
