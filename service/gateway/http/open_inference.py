"""The Open Inference Protocol's own routes: inference, metadata, and Triton's configuration and statistics beside them.

Inference takes Starlette's request and returns a response, without pydantic or dependencies in between.
"""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.core.clock import Clock
from service.core.contract import InferRequest, InferResponse
from service.gateway import codec, describe
from service.gateway.access import check_shared_memory
from service.gateway.budget import beside_bytes
from service.gateway.classification import classified
from service.gateway.extensions import server_metadata
from service.gateway.guard import Body, body_of, hold, read_tensors, while_client_waits
from service.gateway.heavy import Heavy, is_heavy_answer, is_heavy_body
from service.gateway.http.answers import inference_answer, json_answer
from service.gateway.http.door import sender_of
from service.gateway.http.request_head import CAME_S, head_of, headers_of, ref_of
from service.gateway.http.routes import Route, at_each_version
from service.gateway.layouts import Layouts
from service.gateway.shared_memory import SharedMemory
from service.gateway.triton_config_json import triton_config
from service.serving.catalog import Catalog
from service.serving.counted import Counted
from service.serving.refusal import check_room, turn_away
from service.serving.servable import Servable

_SHORT_BYTES = 4 << 10  # read in some hundredths of a millisecond


class OpenInference:
    """Handlers of /v2.

    Args:
        catalog: who answers.
        clock: monotonic seconds, for deadlines.
        max_body_bytes: the largest request body.
        version: the server's own.
        shared_memory: the regions in which tensors may lie.
    """

    def __init__(
        self,
        catalog: Catalog,
        clock: Clock,
        max_body_bytes: int,
        version: str,
        shared_memory: SharedMemory,
    ) -> None:
        self._heavy = Heavy()
        self._layouts = Layouts()
        self._catalog = catalog
        self._shared_memory = shared_memory
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._version = version

    def routes(self) -> list[Route]:
        """Every route of this module."""
        infer = Route("POST", "/v2/models/{model}/infer", self.infer, "Infer", "InferResponse", body="InferRequest")
        metadata = Route("GET", "/v2/models/{model}", self.metadata, "A model's inputs and outputs", "ModelMetadata")
        config = Route("GET", "/v2/models/{model}/config", self.config, "Triton's ModelConfig", "ModelConfig")
        stats = Route("GET", "/v2/models/{model}/stats", self.statistics, "Statistics of one model", "ModelStats")
        return [
            *at_each_version(infer),
            Route("GET", "/v2", self.server, "The server, its version and extensions", "ServerMetadata"),
            Route("GET", "/v2/models/stats", self.all_statistics, "Statistics of every model", "ModelStats"),
            *at_each_version(config),
            *at_each_version(stats),
            *at_each_version(metadata),
        ]

    async def infer(self, request: Request) -> Response:
        """Answers one inference request, JSON or binary."""
        scope, ref, headers = request.scope, ref_of(request), headers_of(request.scope)
        began_s = scope.get(CAME_S) or self._clock.now_s()
        body: Body | None = body_of(scope, headers, self._max_body_bytes)
        if body is None:
            turn_away(self._catalog, ref)  # a lease is not held while a body comes
            body = await read_tensors(headers, request.receive, self._max_body_bytes, scope)
        with self._catalog.lease(ref) as servable, Counted(servable.statistics) as counted:
            regions = self._shared_memory.for_request(partial(check_shared_memory, scope))
            head, specs = head_of(scope, headers), servable.inputs
            read = partial(self._layouts.decode, body, head.header_length, specs, regions)
            if len(body) > _SHORT_BYTES or self._shared_memory.enabled:
                check_room(servable)  # before it is read: one that is short is refused as soon by the batcher
            heavy = is_heavy_body(body, head.header_length, specs)
            asked, form = await self._heavy.do("read a request", read) if heavy else read()
            binary_bytes = 0 if head.header_length is None else len(body) - head.header_length
            read_bytes = regions.read_bytes
            hold(scope, read_bytes + beside_bytes(asked.inputs, binary_bytes + read_bytes))
            deadline = head.deadline(began_s)
            with self._catalog.holder(ref, servable, asked.sequence) as holder:
                counted.by(holder.statistics)
                with while_client_waits(scope, request.receive):
                    answer = await holder.infer(asked, deadline, origin=sender_of(scope))
                counted.answered(answer)
            write = partial(_written, answer, asked, form, holder)
            heavy = is_heavy_answer(answer.outputs, asked.outputs, form.binary)
            encoded = await self._heavy.write(write) if heavy else write()
            hold(scope, len(encoded.body))
        return await inference_answer(encoded, headers)

    async def server(self, _request: Request) -> Response:
        """Name, version and the extensions that work."""
        return json_answer(server_metadata(self._version, self._shared_memory))

    async def metadata(self, request: Request) -> Response:
        """Inputs and outputs of the version that answers."""
        ref = ref_of(request)
        with self._catalog.lease(ref) as servable:
            return json_answer(describe.metadata(servable, self._catalog.versions(ref.name)))

    async def config(self, request: Request) -> Response:
        """The configuration of the version that answers, as Triton writes it."""
        with self._catalog.lease(ref_of(request)) as servable:
            return json_answer(triton_config(servable))

    async def statistics(self, request: Request) -> Response:
        """Counts and times of one model's loaded versions, or of one of them."""
        ref = ref_of(request)
        found = self._catalog.statistics(ref.name, ref.version)
        return json_answer({"model_stats": [version.to_triton() for version in found]})

    async def all_statistics(self, _request: Request) -> Response:
        """Counts and times of every loaded version of every model."""
        return json_answer({"model_stats": [version.to_triton() for version in self._catalog.statistics()]})


def _written(answer: InferResponse, asked: InferRequest, form: codec.Form, servable: Servable) -> codec.Encoded:
    answer = classified(answer, asked.outputs, servable.config.labels_of, batched=servable.batched)
    return codec.encode(answer, form)
