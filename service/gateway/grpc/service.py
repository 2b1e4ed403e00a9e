"""GRPCInferenceService: every method of Triton's service, each a few lines over what HTTP's handlers use too.

Source: Triton's grpc_service.proto.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial, wraps
from typing import Any

from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from service.core.contract import ModelRef
from service.core.errors import NotFound
from service.gateway import describe
from service.gateway.extensions import server_metadata
from service.gateway.grpc.arrivals import messages_of
from service.gateway.grpc.calls import Call, Calls, Context
from service.gateway.grpc.inference import Inference
from service.gateway.grpc.messages import values_of
from service.gateway.grpc.settings import Settings
from service.gateway.load_order import check_unload_order, read_load_order
from service.gateway.shared_memory import SharedMemory
from service.gateway.triton_config_json import triton_config
from service.serving.catalog import Catalog
from service.serving.readiness import Health
from service.serving.threads import in_thread

Handler = Callable[["InferenceService", Any, Call], Awaitable[Any]]


def _answered(handler: Handler) -> Callable[..., Awaitable[Any]]:
    """A handler as grpc.aio calls it."""

    @wraps(handler)
    async def answer(service: InferenceService, _requests: Any, context: Context) -> Any:
        return await service.calls.answer(context, handler.__name__, partial(handler, service))

    return answer


class InferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The service.

    Args:
        calls: runs handlers.
        inference: answers inference requests.
        catalog: the models.
        health: whether the server is live and ready.
        shared_memory: the regions in which tensors may lie.
        settings: of traces and logs.
        version: the server's own.
    """

    def __init__(
        self,
        calls: Calls,
        inference: Inference,
        catalog: Catalog,
        health: Health,
        shared_memory: SharedMemory,
        settings: Settings,
        version: str,
    ) -> None:
        self._settings = settings
        self.calls = calls
        self._inference = inference
        self._catalog = catalog
        self._health = health
        self._shared_memory = shared_memory
        self._version = version

    @_answered
    async def ModelInfer(self, request: Any, call: Call) -> Any:
        """One inference."""
        return await self._inference.infer(request, call)

    async def ModelStreamInfer(self, _requests: AsyncIterator[Any], context: Context) -> None:
        """Many inferences on one stream; gRPC's own loops would keep the last request and answer while it rests."""
        async with aclosing(self._inference.stream(messages_of(context), context)) as answers:
            async for answer in answers:
                await context.write(answer)
                del answer

    @_answered
    async def ServerLive(self, _request: Any, _call: Call) -> Any:
        """Whether the process lives."""
        return service_pb2.ServerLiveResponse(live=self._health.live().ok)

    @_answered
    async def ServerReady(self, _request: Any, _call: Call) -> Any:
        """Whether to send traffic."""
        return service_pb2.ServerReadyResponse(ready=self._health.ready().ok)

    @_answered
    async def ModelReady(self, request: Any, _call: Call) -> Any:
        """Whether a model, or a version of it, answers; one that is not there does not."""
        try:
            ready = self._catalog.ready(request.name, request.version or None).ok
        except NotFound:
            ready = False
        return service_pb2.ModelReadyResponse(ready=ready)

    @_answered
    async def ServerMetadata(self, _request: Any, _call: Call) -> Any:
        """Name, version and extensions."""
        return ParseDict(server_metadata(self._version, self._shared_memory), service_pb2.ServerMetadataResponse())

    @_answered
    async def ModelMetadata(self, request: Any, _call: Call) -> Any:
        """Inputs and outputs of the version that answers; how it batches is only in HTTP's answer."""
        with self._catalog.lease(ModelRef(request.name, request.version or None)) as servable:
            described = describe.metadata(servable, self._catalog.versions(request.name))
        return ParseDict(described, service_pb2.ModelMetadataResponse(), ignore_unknown_fields=True)

    @_answered
    async def ModelConfig(self, request: Any, _call: Call) -> Any:
        """The configuration of the version that answers."""
        with self._catalog.lease(ModelRef(request.name, request.version or None)) as servable:
            config = ParseDict(triton_config(servable), model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config)

    @_answered
    async def ModelStatistics(self, request: Any, _call: Call) -> Any:
        """Counts and times of the loaded versions of one model, or of all."""
        found = self._catalog.statistics(request.name or None, request.version or None)
        return ParseDict({"model_stats": [one.to_triton() for one in found]}, service_pb2.ModelStatisticsResponse())

    @_answered
    async def RepositoryIndex(self, request: Any, _call: Call) -> Any:
        """Every version of every model, with its state."""
        entries = describe.index(self._catalog, ready=request.ready)
        return ParseDict({"models": entries}, service_pb2.RepositoryIndexResponse())

    @_answered
    async def RepositoryModelLoad(self, request: Any, call: Call) -> Any:
        """Reads a model's files again, or what the request brings."""
        call.check_admin()
        model = request.model_name
        # Megabytes of configuration would hold up the requests of others.
        override = await in_thread("read a load", lambda: read_load_order(model, values_of(request.parameters)))
        await self._catalog.load(model, override)
        return service_pb2.RepositoryModelLoadResponse()

    @_answered
    async def RepositoryModelUnload(self, request: Any, call: Call) -> Any:
        """Drains and closes every version of a model."""
        call.check_admin()
        check_unload_order(values_of(request.parameters))
        await self._catalog.unload(request.model_name)
        return service_pb2.RepositoryModelUnloadResponse()

    @_answered
    async def TraceSetting(self, request: Any, call: Call) -> Any:
        """What is traced, changed or not."""
        return self._settings.trace(request, call)

    @_answered
    async def LogSettings(self, request: Any, call: Call) -> Any:
        """What is logged, changed or not."""
        return self._settings.log(request, call)

    @_answered
    async def SystemSharedMemoryStatus(self, request: Any, call: Call) -> Any:
        """One region, or every one."""
        call.check_shared_memory()
        regions = {region["name"]: region for region in self._shared_memory.status(request.name or None)}
        return ParseDict({"regions": regions}, service_pb2.SystemSharedMemoryStatusResponse())

    @_answered
    async def SystemSharedMemoryRegister(self, request: Any, call: Call) -> Any:
        """Makes a region known."""
        call.check_shared_memory()
        self._shared_memory.register(request.name, request.key, request.offset, request.byte_size)
        return service_pb2.SystemSharedMemoryRegisterResponse()

    @_answered
    async def SystemSharedMemoryUnregister(self, request: Any, call: Call) -> Any:
        """Forgets one region, or every one."""
        call.check_shared_memory()
        self._shared_memory.unregister(request.name or None)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    @_answered
    async def CudaSharedMemoryStatus(self, request: Any, call: Call) -> Any:
        """There are none."""
        call.check_shared_memory()
        self._shared_memory.cuda_status(request.name or None)
        return service_pb2.CudaSharedMemoryStatusResponse()

    @_answered
    async def CudaSharedMemoryRegister(self, _request: Any, call: Call) -> Any:
        """Refused."""
        call.check_shared_memory()
        self._shared_memory.register_cuda()
        return service_pb2.CudaSharedMemoryRegisterResponse()

    @_answered
    async def CudaSharedMemoryUnregister(self, _request: Any, call: Call) -> Any:
        """Does nothing: there are none."""
        call.check_shared_memory()
        self._shared_memory.unregister_cuda()
        return service_pb2.CudaSharedMemoryUnregisterResponse()
