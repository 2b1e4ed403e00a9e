"""TensorFlow Serving's simple routes, /v1: the same versions, queue and errors as the Open Inference Protocol's."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from service.core.clock import Clock
from service.core.errors import BadInput
from service.gateway import tensorflow_json
from service.gateway.budget import beside_bytes
from service.gateway.codec import JSON, Encoded
from service.gateway.guard import hold, read_body, while_client_waits
from service.gateway.heavy import Heavy, is_heavy_answer, is_heavy_body
from service.gateway.http.answers import inference_answer, json_answer
from service.gateway.http.door import sender_of
from service.gateway.http.request_head import CAME_S, deadline_of, ref_of
from service.gateway.http.routes import Route
from service.gateway.turns import Turns
from service.serving.catalog import Catalog
from service.serving.counted import Counted
from service.serving.refusal import turn_away
from service.serving.reports import VersionView

_STATES = {"READY": "AVAILABLE", "LOADING": "LOADING", "DRAINING": "UNLOADING"}


class Predict:
    """Handlers of /v1.

    Args:
        catalog: who answers.
        clock: monotonic seconds, for deadlines.
        max_body_bytes: the largest request body.
        turns: of the loop, which requests share.
    """

    def __init__(self, catalog: Catalog, clock: Clock, max_body_bytes: int, turns: Turns) -> None:
        self._heavy = Heavy()
        self._turns = turns
        self._catalog = catalog
        self._clock = clock
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Route]:
        """Every route of this module; the more particular path first, since a name may hold a colon."""
        versioned, plain = "/v1/models/{model}/versions/{version}:predict", "/v1/models/{model}:predict"
        return [
            Route("POST", versioned, self.predict, "Predict", "Predictions", body="PredictRequest"),
            Route("POST", plain, self.predict, "Predict", "Predictions", body="PredictRequest"),
            Route("GET", "/v1/models", self.models, "Every model", "Models"),
            Route("GET", "/v1/models/{model}", self.status, "The state of a model's versions", "ModelStatus"),
        ]

    async def predict(self, request: Request) -> Response:
        """Answers rows (`instances`) or columns (`inputs`)."""
        began_s = request.scope.get(CAME_S) or self._clock.now_s()
        headers = dict(request.scope["headers"])
        if (turn := self._turns.take()) is not None:
            await turn
        ref = ref_of(request)
        turn_away(self._catalog, ref)  # a lease is not held while a body comes
        body = await read_body(headers, request.receive, self._max_body_bytes, request.scope)
        with self._catalog.lease(ref) as servable, Counted(servable.statistics) as counted:
            if servable.sequencer is not None:
                raise BadInput(
                    f"model '{servable.model}' keeps state from request to request, which /v1 cannot name: "
                    f"send its requests to /v2/models/{servable.model}/infer with a 'sequence_id'"
                )
            read = partial(tensorflow_json.decode, body, servable.inputs, servable.config.labels)
            heavy = is_heavy_body(body, None, servable.inputs)
            asked, style = await self._heavy.do("read a request", read) if heavy else read()
            hold(request.scope, beside_bytes(asked.inputs, 0))
            deadline = deadline_of(headers, began_s)
            with while_client_waits(request.scope, request.receive):
                answer = await servable.infer(asked, deadline, origin=sender_of(request.scope))
            counted.answered(answer)
            write = partial(tensorflow_json.encode, answer, style, servable.config.labels)
            heavy = is_heavy_answer(answer.outputs, (), lambda _: False)
            text = await self._heavy.write(write) if heavy else write()
            hold(request.scope, len(text))
        return await inference_answer(Encoded(text, JSON, None), headers)

    async def models(self, _request: Request) -> Response:
        """The names of every model, with the version that answers."""
        active = {name: self._catalog.active_version(name) for name in self._catalog.models()}
        return json_answer({"models": [{"name": name, "active_version": active[name]} for name in active]})

    async def status(self, request: Request) -> Response:
        """Every version's state, in TensorFlow Serving's words."""
        views = self._catalog.versions(request.path_params["model"])
        return json_answer({"model_version_status": [_status(view) for view in views]})


def _status(view: VersionView) -> dict[str, object]:
    code = "OK" if not view.reason else "UNKNOWN"
    status = {"error_code": code, "error_message": view.reason}
    return {"version": view.version, "state": _STATES.get(view.state, "END"), "status": status}
