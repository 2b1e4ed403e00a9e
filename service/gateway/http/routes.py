"""A route and its description in one place, so that the OpenAPI document cannot leave one out.

Handlers take Starlette's request, so FastAPI neither parses nor validates: what goes in and out is written down here,
by the names of `schemas`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.routing import Route as AnyRoute
from starlette.types import Scope

from service.gateway.http.door import guarded
from service.gateway.http.schemas import CONTENT, SECURITY, Schema
from service.gateway.keyring import Keyring
from service.gateway.rights import Right

_REFUSALS = {
    400: "The request is wrong: the sentence says what, where, and what was expected",
    401: "With keys alone: none was sent, or one that nobody holds",
    403: "The key lacks the scope; without keys: only the server's own machine may, and no web page",
    404: "No such model or version, or it is not loaded",
    408: "The head or the body came too slowly",
    409: "Another operation is under way, or the gate or the golden cases refuse; `verdict` and `reasons` say why",
    413: "The body is larger than the limit",
    429: "With keys alone: more requests than the key's holder may make; try again after `Retry-After` seconds",
    431: "The head is larger than the limit, in bytes or fields",
    500: "The model failed on this request, or an internal error that names the request's id",
    503: "Not ready, draining, no room in a queue or for more bytes or connections, or the deadline passed: try again "
    "after `Retry-After` seconds",
}
_PARAMETERS = {
    "model": "The model's name",
    "version": "The version's id, such as `1` or `1-int8`",
    "region": "The name under which a region of shared memory is registered",
}
_NEEDED_BODIES = ("InferRequest", "PredictRequest", "SwapOrder", "RegionOrder")
_INFERENCES = ("InferRequest", "PredictRequest")
_CODING: Schema = {"type": "string", "enum": ["gzip", "deflate", "identity"]}
_LENGTH: Schema = {"type": "integer", "minimum": 0}
_REQUEST_ID = "X-Request-Id"
_CONTENT_CODING, _JSON_LENGTH = "Content-Encoding", "Inference-Header-Content-Length"
_HEADERS: Mapping[str, tuple[str, Schema]] = {
    _REQUEST_ID: ("The request's id in answers and logs, in place of one of the server's own", {"type": "string"}),
    "Retort-Timeout-Ms": (
        "Milliseconds after which nobody waits for the answer any more",
        {"type": "integer", "minimum": 1},
    ),
    "traceparent": ("The trace that the request is part of, as W3C Trace Context has it", {"type": "string"}),
    _JSON_LENGTH: ("Length of the JSON where binary tensors follow it; 0 for a body that is the one tensor", _LENGTH),
}
_ANSWER_HEADERS: Mapping[str, tuple[str, Schema]] = {
    _REQUEST_ID: ("The request's id", {"type": "string"}),
    _CONTENT_CODING: ("How the answer is compressed, where Accept-Encoding takes that", _CODING),
    "Vary": ("Accept-Encoding, where the answer is compressed", {"type": "string"}),
    "traceresponse": ("The trace that the answer is part of, where it is traced", {"type": "string"}),
    _JSON_LENGTH: ("Length of the JSON where binary tensors follow it", _LENGTH),
}
# No header parameter: a client that sets it by itself, without compressing, is refused.
_COMPRESSED = "May be compressed with gzip or deflate, as `Content-Encoding` then says"
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}


@dataclass(frozen=True, slots=True)
class Route:
    """One method at one path.

    Attributes:
        answer: what a 200 holds, a key of `schemas.CONTENT`.
        body: what the request holds, a key of `schemas.CONTENT`; None for nothing.
        right: what it asks of a key, where the server has keys.
    """

    method: str
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    summary: str
    answer: str
    body: str | None = None
    right: Right = Right.INFER

    def add_to(self, app: FastAPI, keyring: Keyring | None) -> None:
        """Registers and describes the route, with its door before it."""
        handler = guarded(self.handler, self.right, keyring)
        app.add_api_route(
            self.path,
            handler,
            methods=[self.method],
            response_model=None,
            response_class=Response,
            summary=self.summary,
            operation_id=self._operation_id(),
            responses=self._responses(),
            openapi_extra=self._extra(),
        )
        if self.method == "GET":  # RFC 9110, 9.3.2: the same without its body, which the connection leaves out
            app.add_api_route(self.path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)

    def _operation_id(self) -> str:
        return self.handler.__name__ + ("_of_version" if "{version}" in self.path else "")

    def _names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def _refusals(self) -> list[int]:
        codes = [408, 431, 500, 503]
        if self.body is not None:
            codes += [400, 413]
        if self._names():
            codes += [404]
        if self.right is Right.ADMIN:
            codes += [400, 409]
        if self.right is not Right.OPEN:
            codes += [401, 403, 429]
        return sorted(set(codes))

    def _responses(self) -> dict[int | str, dict[str, Any]]:
        answered = {"description": self.summary, "content": CONTENT[self.answer], "headers": self._answer_headers()}
        told: dict[int | str, dict[str, Any]] = {200: answered}
        for code in self._refusals():
            headers = _described({_REQUEST_ID: _ANSWER_HEADERS[_REQUEST_ID]})
            told[code] = {"description": _REFUSALS[code], "content": CONTENT["Error"], "headers": headers}
        for status in told.keys() & {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            told[status]["headers"] |= _RETRY_AFTER
        return told

    def _answer_headers(self) -> dict[str, Any]:
        left_out = {_JSON_LENGTH} if self.body == "PredictRequest" else set()
        wanted = _ANSWER_HEADERS.keys() - left_out if self.body in _INFERENCES else {_REQUEST_ID}
        return _described({name: told for name, told in _ANSWER_HEADERS.items() if name in wanted})

    def _request_headers(self) -> list[str]:
        if self.body in _INFERENCES:
            return [name for name in _HEADERS if name != _JSON_LENGTH or self.body == "InferRequest"]
        return [_REQUEST_ID]

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
        parameters += [
            {"name": name, "in": "header", "description": _HEADERS[name][0], "schema": _HEADERS[name][1]}
            for name in self._request_headers()
        ]
        extra: dict[str, Any] = {"parameters": parameters}
        if self.right is not Right.OPEN:
            extra["security"] = [*({scheme: []} for scheme in SECURITY), {}]  # {}: a server without keys asks for none
        if self.body is not None:
            needed = self.body in _NEEDED_BODIES
            extra["requestBody"] = {"required": needed, "description": _COMPRESSED, "content": CONTENT[self.body]}
        return extra


def _described(headers: Mapping[str, tuple[str, Schema]]) -> dict[str, Any]:
    return {name: {"description": what, "schema": schema} for name, (what, schema) in headers.items()}


def at_each_version(route: Route) -> tuple[Route, Route]:
    """`route` at its path, and again with a version named after the model."""
    return route, replace(route, path=route.path.replace("{model}", "{model}/versions/{version}"))


def methods_at(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """What the header `Allow` says at the path of a request: the methods of every route there (RFC 9110, 15.5.6)."""
    there: dict[bool, set[str]] = {True: set(), False: set()}
    for route in routes:
        match, found = route.matches(scope)
        if match is not Match.NONE and isinstance(route, AnyRoute):
            # The route of a model takes `digits:predict` for one, too, but no name holds a colon.
            names_fit = all(":" not in name for name in found["path_params"].values())
            there[names_fit] |= route.methods or set()
    return ", ".join(sorted(there[True] or there[False]))
