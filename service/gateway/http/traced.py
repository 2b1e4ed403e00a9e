"""An inference request over HTTP as tracing sees it. Source: OpenTelemetry's semantic conventions for HTTP spans."""

from __future__ import annotations

import re

from starlette.types import Scope

from service.gateway.http.request_head import origin_of
from service.observe.tracing import Arrival, RequestTrace, Tracing

_INFERENCE = re.compile(
    r"/(?P<api>v2|v1)/models/(?P<model>[^/]+?)(?P<version>/versions/[^/]+?)?(?P<verb>/infer|:predict)"
)
_PATH_LIMIT = 300
_SERVER_ERROR = 500

Header = tuple[bytes, bytes]


def begin(tracing: Tracing, scope: Scope, request_id: str) -> RequestTrace | None:
    """Follows the request of `scope` if it asks for an inference and the settings say so."""
    match = _INFERENCE.fullmatch(scope["path"]) if scope["method"] == "POST" else None
    if match is None or (match["api"] == "v2") is not (match["verb"] == "/infer"):
        return None
    route = f"/{match['api']}/models/{{model}}{'/versions/{version}' if match['version'] else ''}{match['verb']}"
    attributes = {
        "http.request.method": "POST",
        "http.route": route,
        "url.path": scope["path"][:_PATH_LIMIT],
        "url.scheme": scope.get("scheme", "http"),
        "client.address": origin_of(scope),
    }
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return tracing.begin(Arrival(f"POST {route}", match["model"], request_id, carrier, attributes))


def headers_of(trace: RequestTrace) -> list[Header]:
    """What the answer carries of its trace."""
    return [(name.encode(), value.encode()) for name, value in trace.headers.items()]


def end(trace: RequestTrace, status: int) -> None:
    """The answer is sent, with `status`; 0 when there was none."""
    trace.end({"http.response.status_code": status} if status else {}, ok=0 < status < _SERVER_ERROR)
