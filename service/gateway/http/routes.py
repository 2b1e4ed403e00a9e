"""A route and its description in one place, so that the OpenAPI document cannot leave one out.

Handlers take Starlette's request, so FastAPI neither parses nor validates: what goes in and out is written down here,
by the names of `schemas`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from service.gateway.http.schemas import CONTENT

_REFUSALS = {
    400: "The request is wrong: the sentence says what, where, and what was expected",
    403: "Not from here: only the server's own machine may",
    404: "No such model or version, or it is not loaded",
    409: "Another operation is under way, or the gate or the golden cases refuse; `verdict` and `reasons` say why",
    413: "The body is larger than the limit",
    500: "The model failed on this request, or an internal error that names the request's id",
    503: "Not ready, draining, queue full, or the deadline passed: try again after `Retry-After` seconds",
}
_PARAMETERS = {
    "model": "The model's name",
    "version": "The version's id, such as `1` or `1-int8`",
    "region": "The name under which a region of shared memory is registered",
}
_NEEDED_BODIES = ("InferRequest", "PredictRequest", "SwapOrder", "RegionOrder")
_HEADERS = {
    "Retort-Timeout-Ms": ("Milliseconds after which nobody waits for the answer any more", "integer"),
    "Inference-Header-Content-Length": ("Length of the JSON where binary tensors follow it", "integer"),
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one path.

    Attributes:
        answer: what a 200 holds, a key of `schemas.CONTENT`.
        body: what the request holds, a key of `schemas.CONTENT`; None for nothing.
        admin: whether it changes what is served.
    """

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    summary: str
    answer: str
    body: str | None = None
    admin: bool = False

    def add_to(self, app: FastAPI) -> None:
        """Registers and describes the route."""
        app.add_api_route(
            self.path,
            self.handler,
            methods=[self.method],
            response_model=None,
            response_class=Response,
            summary=self.summary,
            operation_id=self._operation_id(),
            responses=self._responses(),
            openapi_extra=self._extra(),
        )

    def _operation_id(self) -> str:
        return self.handler.__name__ + ("_of_version" if "{version}" in self.path else "")

    def _names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def _refusals(self) -> list[int]:
        codes = [500]
        if self.body is not None:
            codes += [400, 413]
        if self._names():
            codes += [404, 503]
        if self.admin:
            codes += [400, 403, 409]
        if self.answer in ("Ready", "Live"):
            codes += [503]
        return sorted(set(codes))

    def _responses(self) -> dict[int | str, dict[str, Any]]:
        told: dict[int | str, dict[str, Any]] = {200: {"description": self.summary, "content": CONTENT[self.answer]}}
        for code in self._refusals():
            told[code] = {"description": _REFUSALS[code], "content": CONTENT["Error"]}
        if HTTPStatus.SERVICE_UNAVAILABLE in told:
            told[503]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
        return told

    def _extra(self) -> dict[str, Any]:
        parameters: list[dict[str, Any]] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": _PARAMETERS[name],
                "schema": {"type": "string", "minLength": 1},
            }
            for name in self._names()
        ]
        if self.body in ("InferRequest", "PredictRequest"):
            wanted = list(_HEADERS.items()) if self.body == "InferRequest" else list(_HEADERS.items())[:1]
            parameters += [
                {"name": name, "in": "header", "description": what, "schema": {"type": kind, "minimum": 1}}
                for name, (what, kind) in wanted
            ]
        extra: dict[str, Any] = {"parameters": parameters}
        if self.body is not None:
            extra["requestBody"] = {"required": self.body in _NEEDED_BODIES, "content": CONTENT[self.body]}
        return extra


def at_each_version(route: Route) -> tuple[Route, Route]:
    """`route` at its path, and again with a version named after the model."""
    return route, replace(route, path=route.path.replace("{model}", "{model}/versions/{version}"))
